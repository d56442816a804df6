#pragma once

#include "peaks/fma-inl.h"
#include "peaks/gather-inl.h"
#include "peaks/read-inl.h"

namespace recstack::RECSTACK_ISA_NS {

extern const PeakKernels peak_table;
const PeakKernels peak_table = {
    .fma_operations = 2 * kChains * kLanes,
    .fma_f32 = fma_f32,
    .read_f32 = read_f32,
    .gather_f32 = gather_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
