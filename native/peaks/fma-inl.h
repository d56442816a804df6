#pragma once

#include "core/vec.h"
#include "peaks/kernels.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Two units times a latency of 4 or 5, and two operands, in 16 registers.
constexpr int kChains = 12;

void fma_f32(int64_t steps, float* out) {
  // |b| < 1, so that the chains settle at c / (1 - b), never at a denormal or infinity.
  const V b = set1(out[0] + 0.5f), c = set1(out[1] + 1.0f);
  V acc[kChains];
  RECSTACK_UNROLL
  for (int i = 0; i < kChains; ++i) acc[i] = set1(static_cast<float>(i));
  for (int64_t s = 0; s < steps; ++s) {
    RECSTACK_UNROLL
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], b, c);
  }
  RECSTACK_UNROLL
  for (int i = 1; i < kChains; ++i) acc[0] = add(acc[0], acc[i]);
  out[2] = first_lane(fold_all(acc[0], [](V a, V b) { return add(a, b); }));
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
