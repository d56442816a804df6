// Activations: a row's range, and its values as u8 (or wider, where the products need it).
#pragma once

#include "kernels/gemm8/dot-inl.h"
#include "kernels/gemm8/gemm8.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Bytes of a row per pass. The constant stride gives the inner loop constant displacements, and
// keeps rows a power of two apart from fighting over one cache set.
constexpr int64_t kPassBytes = 2048;
constexpr int64_t kPass = kPassBytes / sizeof(Quantised);
constexpr int64_t kRowStride = (kPassBytes + 64) / sizeof(Quantised);

RowScale8 row_scale(float low, float high) {
  low = low < 0.0f ? low : 0.0f;
  high = high > 0.0f ? high : 0.0f;
  const float step = high / 255.0f - low / 255.0f;
  const float inverse = step < kSmallestScale ? 0.0f : 1.0f / step;
  const float zero = -low * inverse;
  return {step, inverse, zero > 0.0f ? nearest(zero < 255.0f ? zero : 255.0f) : 0.0f};
}

// Smallest and largest of n values, and of what was there before.
RECSTACK_INLINE void widen(const float* x, int64_t n, V& low, V& high) {
  V low2 = low, high2 = high;
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    const V a = load(x + i), b = load(x + i + kLanes);
    low = min(a, low);
    high = max(a, high);
    low2 = min(b, low2);
    high2 = max(b, high2);
  }
  for (; i < n; i += kLanes) {
    const V a = load_n(x + i, lesser(kLanes, n - i));  // a 0 is in the range anyway
    low = min(a, low);
    high = max(a, high);
  }
  low = min(low2, low);
  high = max(high2, high);
}

RECSTACK_INLINE RowScale8 own_scale(const float* x, const PackedLayer8& layer) {
  V low = zero(), high = zero();
  int64_t begin = 0;
  for (int64_t o = 0; o < layer.outlier_count; ++o) {
    widen(x + begin, layer.outliers[o] - begin, low, high);
    begin = layer.outliers[o] + 1;
  }
  widen(x + begin, layer.k - begin, low, high);
  return row_scale(first_lane(fold_all(low, [](V a, V b) { return min(a, b); })),
                   first_lane(fold_all(high, [](V a, V b) { return max(a, b); })));
}

// n values of a row, to whole vectors. NaN and infinity become NaN in the row's step.
RECSTACK_INLINE void quantise(const float* x, int64_t n, RowScale8& scale, Quantised* q) {
  const V inverse = set1(scale.inverse);
  const V low = set1(-scale.zero), high = set1(255.0f - scale.zero);
  const I offset = set1_int(static_cast<int32_t>(scale.zero));
  V poison = zero();
  const auto put = [&](V a, int64_t i) {
    poison = add(poison, sub(a, a));
    const V clamped = min(max(mul(a, inverse), low), high);
    store_quantised(q + i, add(to_nearest_int(clamped), offset));
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) put(load(x + i), i);
  if (i < n) put(load_n(x + i, n - i), i);
  scale.step += sum_lanes(poison);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
