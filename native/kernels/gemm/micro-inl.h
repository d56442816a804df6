// The register-blocked inner loop that gemm, matmul and the dot interaction share.
#pragma once

#include "kernels/gemm/weights-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Shape of the blocking. kMaxRows x kPanelVectors accumulators, the panel's vectors and one
// broadcast fill the register file.
constexpr int kPanelVectors = 2;
constexpr int64_t kPanel = kPanelVectors * kLanes;
#if RECSTACK_ISA >= 2
constexpr int kMaxRows = 14;
constexpr int kMaxAccumulators = 28;
constexpr int64_t kNarrow = 4;
#elif RECSTACK_ISA == 1
constexpr int kMaxRows = 6;
constexpr int kMaxAccumulators = 12;
constexpr int64_t kNarrow = 2;
#else
constexpr int kMaxRows = 4;
constexpr int kMaxAccumulators = 8;
constexpr int64_t kNarrow = 1;
#endif

// Steps of k that a panel is prefetched ahead.
constexpr int64_t kStepsAhead = 32;

// Panels that `rows` rows take at once, so that the accumulators outlast the FMA's latency.
constexpr int panels_at_once(int rows) {
  const int fit = kMaxAccumulators / (rows * kPanelVectors);
  return fit >= 4 ? 4 : fit >= 1 ? fit : 1;
}

// Column vector c of the panels at b, for one part of a step.
template <class W, int kVectors>
RECSTACK_INLINE V load_column(const typename W::Word* b, int64_t panel_stride, int c, int part) {
  return W::load(b + (c / kVectors) * panel_stride + (c % kVectors) * kLanes, part);
}

// acc[m][c] = multiply_add(a[m, i], b[i, c], acc[m][c]) for i < steps, in order, part by part. `a`
// holds what load_x made; b kPanels panels, panel_stride words apart, each (steps, kWidth). A
// constant a_stride makes every row of `a` one base register and a displacement.
template <int kRows, int kVectors, int kPanels, class W = Fp32, int64_t kWidth = kVectors * kLanes>
RECSTACK_INLINE void accumulate(const float* a, int64_t a_stride, const typename W::Word* b,
                                int64_t panel_stride, int64_t steps,
                                V (&acc)[kRows][kVectors * kPanels]) {
  constexpr int kColumns = kVectors * kPanels;
  constexpr int64_t kLineWords = 64 / sizeof(typename W::Word);
  for (int64_t i = 0; i < steps; ++i) {
    // The processor's own prefetchers stop at each page's end. Fewer rows than this are bound by
    // the loads themselves.
    if constexpr (RECSTACK_ISA > 0 && kRows >= kMaxRows / 2) {
      RECSTACK_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        RECSTACK_UNROLL
        for (int64_t line = 0; line < kWidth; line += kLineWords) {
          __builtin_prefetch(b + p * panel_stride + kStepsAhead * kWidth + line, 0, 3);
        }
      }
    }
    RECSTACK_UNROLL
    for (int part = 0; part < W::kParts; ++part) {
      const float* at = a + i * W::kParts + (W::kParts - 1 - part);
      if constexpr (kRows < kColumns) {
        V x[kRows];
        RECSTACK_UNROLL
        for (int m = 0; m < kRows; ++m) x[m] = set1(at[m * a_stride]);
        RECSTACK_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          const V w = load_column<W, kVectors>(b, panel_stride, c, part);
          RECSTACK_UNROLL
          for (int m = 0; m < kRows; ++m) acc[m][c] = W::multiply_add(x[m], w, acc[m][c]);
        }
      } else {
        V w[kColumns];
        RECSTACK_UNROLL
        for (int c = 0; c < kColumns; ++c) {
          w[c] = load_column<W, kVectors>(b, panel_stride, c, part);
        }
        RECSTACK_UNROLL
        for (int m = 0; m < kRows; ++m) {
          const V x = set1(at[m * a_stride]);
          RECSTACK_UNROLL
          for (int c = 0; c < kColumns; ++c) acc[m][c] = W::multiply_add(x, w[c], acc[m][c]);
        }
      }
    }
    b += kWidth;
  }
}

// dst[t, j] = src[j * stride + t] for t < k, j < columns, kWidth columns per row of dst; columns
// past `columns` become 0.
template <int64_t kWidth>
RECSTACK_INLINE void transpose_panel(const float* src, int64_t stride, int64_t columns, int64_t k,
                                     float* dst) {
  for (int64_t t = 0; t < k; t += kLanes) {
    const int64_t steps = lesser(kLanes, k - t);
    for (int64_t j = 0; j < kWidth; j += kLanes) {
      V x[kLanes];
      RECSTACK_UNROLL
      for (int i = 0; i < kLanes; ++i) {
        x[i] = j + i < columns ? load_n(src + (j + i) * stride + t, steps) : zero();
      }
      transpose(x);
      for (int64_t i = 0; i < steps; ++i) store(dst + (t + i) * kWidth + j, x[i]);
    }
  }
}

// The panel (steps_of(k), kWidth) of weights (columns, k), zeros past `columns`.
template <class W, int64_t kWidth>
RECSTACK_INLINE void pack_panel(const float* src, int64_t stride, int64_t columns, int64_t k,
                                typename W::Word* dst) {
  if constexpr (__is_same(W, Fp32)) return transpose_panel<kWidth>(src, stride, columns, k, dst);
  for (int64_t t = 0; t < k; t += W::kValues, dst += kWidth) {
    for (int64_t j = 0; j < kWidth; ++j) {
      dst[j] = j < columns ? W::word(src + j * stride + t, k - t) : typename W::Word{0};
    }
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
