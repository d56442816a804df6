// Weights of two bytes, in translation units of their own: together with fp32's they would compile
// for minutes.
#pragma once

#include "kernels/gemm/layer-inl.h"
#include "kernels/gemm/tables.h"

namespace recstack::RECSTACK_ISA_NS {

const LayerKernels bf16_layers = kLayerKernels<Bf16>;
#if RECSTACK_ISA != 3
const LayerKernels fp16_layers = kLayerKernels<Fp16>;
#endif

}  // namespace recstack::RECSTACK_ISA_NS
