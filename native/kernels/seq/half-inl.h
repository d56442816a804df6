// Weights of two bytes.
#pragma once

#include "kernels/seq/recurrence-inl.h"
#include "kernels/seq/rnn-inl.h"
#include "kernels/seq/tables.h"
#include "kernels/seq/unit-inl.h"

namespace recstack::RECSTACK_ISA_NS {

const SeqLayers bf16_seq = {kRecurrenceKernels<Bf16>, kRnnKernels<Bf16>};
const UnitKernels bf16_unit = kUnitKernels<Bf16>;
#if RECSTACK_ISA != 3
const SeqLayers fp16_seq = {kRecurrenceKernels<Fp16>, kRnnKernels<Fp16>};
#endif

}  // namespace recstack::RECSTACK_ISA_NS
