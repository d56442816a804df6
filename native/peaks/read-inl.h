#pragma once

#include "core/vec.h"
#include "peaks/kernels.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kReadChains = 8;

void read_f32(const float* data, int64_t n, int64_t passes, float* out) {
  static_assert(kReadStep % (kReadChains * kLanes) == 0);
  V acc[kReadChains];
  RECSTACK_UNROLL
  for (int i = 0; i < kReadChains; ++i) acc[i] = zero();
  for (int64_t p = 0; p < passes; ++p) {
    for (int64_t at = 0; at < n; at += kReadChains * kLanes) {
      RECSTACK_UNROLL
      for (int i = 0; i < kReadChains; ++i) acc[i] = add(acc[i], load(data + at + i * kLanes));
    }
  }
  RECSTACK_UNROLL
  for (int i = 1; i < kReadChains; ++i) acc[0] = add(acc[0], acc[i]);
  out[0] = first_lane(fold_all(acc[0], [](V a, V b) { return add(a, b); }));
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
