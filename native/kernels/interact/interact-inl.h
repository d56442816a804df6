#pragma once

#include "kernels/interact/dot-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

void cross_f32(const float* x0, int64_t x0_stride, const float* y, int64_t y_stride, const float* x,
               int64_t x_stride, int64_t rows, int64_t n, float* out, int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < n; j += kLanes) {
      const int64_t lanes = lesser(kLanes, n - j);
      const V a = load_n(x0 + r * x0_stride + j, lanes);
      const V b = load_n(y + r * y_stride + j, lanes);
      const V c = load_n(x + r * x_stride + j, lanes);
      store_n(out + r * out_stride + j, fma(a, b, c), lanes);
    }
  }
}

}  // namespace

extern const InteractKernels interact_table;
const InteractKernels interact_table = {
    .dot_f32 = dot_f32,
    .cross_f32 = cross_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
