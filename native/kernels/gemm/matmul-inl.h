// matmul_f32: `b` goes through a small panel on the stack, so any strides feed the same inner loop.
#pragma once

#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int64_t kMatmulDepth = 128;

template <int kRows, int kVectors>
RECSTACK_INLINE void matmul_block(const float* a, int64_t a_stride, const float* panel, int64_t k,
                                  bool resume, float* out, int64_t out_stride, int64_t columns) {
  const auto lanes = [=](int c) { return lesser(kLanes, columns - c * kLanes); };
  V acc[kRows][kVectors];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      acc[m][c] = resume ? load_n(out + m * out_stride + c * kLanes, lanes(c)) : zero();
    }
  }
  accumulate<kRows, kVectors, 1>(a, a_stride, panel, 0, k, acc);
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      store_n(out + m * out_stride + c * kLanes, acc[m][c], lanes(c));
    }
  }
}

// Panel (steps, kWidth) of b[t.., j..], from either orientation.
template <int64_t kWidth>
RECSTACK_INLINE void fill_panel(const float* b, int64_t row_stride, int64_t col_stride,
                                int64_t columns, int64_t steps, float* panel) {
  if (row_stride == 1) return transpose_panel<kWidth>(b, col_stride, columns, steps, panel);
  for (int64_t t = 0; t < steps; ++t) {
    const float* from = b + t * row_stride;
    float* to = panel + t * kWidth;
    for (int64_t j = 0; j < kWidth; j += kLanes) {
      const int64_t lanes = greater(0, lesser(kLanes, columns - j));
      if (col_stride == 1) {
        store(to + j, lanes > 0 ? load_n(from + j, lanes) : zero());
      } else {
        for (int64_t i = 0; i < kLanes; ++i) {
          to[j + i] = i < lanes ? from[(j + i) * col_stride] : 0.0f;
        }
      }
    }
  }
}

template <int kVectors>
RECSTACK_INLINE void matmul_columns(const float* a, int64_t m, int64_t k, int64_t a_stride,
                                    const float* b, int64_t b_row_stride, int64_t b_col_stride,
                                    int64_t columns, float* out, int64_t out_stride) {
  constexpr int64_t kWidth = kVectors * kLanes;
  alignas(64) float panel[kMatmulDepth * kWidth];
  int64_t t = 0;
  do {
    const int64_t steps = lesser(kMatmulDepth, k - t);
    fill_panel<kWidth>(b + t * b_row_stride, b_row_stride, b_col_stride, columns, steps, panel);
    int64_t i = 0;
    for (; i + 4 <= m; i += 4) {
      matmul_block<4, kVectors>(a + i * a_stride + t, a_stride, panel, steps, t > 0,
                                out + i * out_stride, out_stride, columns);
    }
    for (; i < m; ++i) {
      matmul_block<1, kVectors>(a + i * a_stride + t, a_stride, panel, steps, t > 0,
                                out + i * out_stride, out_stride, columns);
    }
    t += steps;
  } while (t < k);
}

void matmul_f32(const float* a, int64_t m, int64_t k, int64_t a_stride, const float* b,
                int64_t b_row_stride, int64_t b_col_stride, int64_t n, float* out,
                int64_t out_stride) {
  for (int64_t j = 0; j < n; j += kPanel) {
    const int64_t columns = lesser(kPanel, n - j);
    const float* from = b + j * b_col_stride;
    if (columns <= kLanes) {
      matmul_columns<1>(a, m, k, a_stride, from, b_row_stride, b_col_stride, columns, out + j,
                        out_stride);
    } else {
      matmul_columns<kPanelVectors>(a, m, k, a_stride, from, b_row_stride, b_col_stride, columns,
                                    out + j, out_stride);
    }
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
