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

// Scales of many rows, an array per number.
template <int64_t kRows>
struct RowScales {
  static constexpr int64_t kPadded = (kRows + kLanes - 1) / kLanes * kLanes;
  float low[kPadded];
  float high[kPadded];
  float step[kPadded];
  float inverse[kPadded];
  int32_t zero[kPadded];
};

// Scales of a vector of ranges, 0 among each.
RECSTACK_INLINE void scales_of(V low, V high, V& step, V& inverse, V& zero_point) {
  const V steps = set1(255.0f), magic = set1(12582912.0f);
  step = sub(div(high, steps), div(low, steps));
  inverse = select(lt(step, set1(kSmallestScale)), zero(), div(set1(1.0f), step));
  // 0 stands second: what is NaN becomes 0.
  const V place = min(max(mul(neg(low), inverse), zero()), steps);
  zero_point = sub(add(place, magic), magic);
}

inline RowScale8 row_scale(float low, float high) {
  V step, inverse, zero_point;
  scales_of(set1(low < 0.0f ? low : 0.0f), set1(high > 0.0f ? high : 0.0f), step, inverse,
            zero_point);
  return {first_lane(step), first_lane(inverse), first_lane(zero_point)};
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

// The range of one row's values but its outliers, and of 0.
RECSTACK_INLINE void own_range(const float* x, const PackedLayer8& layer, float* row_low,
                               float* row_high) {
  V low = zero(), high = zero();
  int64_t begin = 0;
  for (int64_t o = 0; o < layer.outlier_count; ++o) {
    widen(x + begin, layer.outliers[o] - begin, low, high);
    begin = layer.outliers[o] + 1;
  }
  widen(x + begin, layer.k - begin, low, high);
  *row_low = first_lane(fold_all(low, [](V a, V b) { return min(a, b); }));
  *row_high = first_lane(fold_all(high, [](V a, V b) { return max(a, b); }));
}

// `given`, or the rows' own.
template <int64_t kRows>
RECSTACK_INLINE void find_scales(const float* x, int64_t x_stride, int64_t rows,
                                 const PackedLayer8& layer, const RowScale8* given,
                                 RowScales<kRows>& scales) {
  if (given == nullptr) {
    for (int64_t r = 0; r < rows; ++r) {
      own_range(x + r * x_stride, layer, scales.low + r, scales.high + r);
    }
  }
  for (int64_t r = 0; r < rows; r += kLanes) {
    V step, inverse, zero_point;
    if (given == nullptr) {
      const int64_t lanes = lesser(kLanes, rows - r);
      scales_of(load_n(scales.low + r, lanes), load_n(scales.high + r, lanes), step, inverse,
                zero_point);
    } else {
      step = set1(given->step);
      inverse = set1(given->inverse);
      zero_point = set1(given->zero);
    }
    store(scales.step + r, step);
    store(scales.inverse + r, inverse);
    store_ints(scales.zero + r, to_nearest_int(zero_point));
  }
}

// n values of row r, to whole vectors. NaN and infinity become NaN in the row's step.
template <int64_t kRows>
RECSTACK_INLINE void quantise(const float* x, int64_t n, RowScales<kRows>& scales, int64_t r,
                              Quantised* q) {
  const V inverse = set1(scales.inverse[r]);
  const I offset = set1_int(scales.zero[r]);
  const V low = neg(to_float(offset)), high = add(set1(255.0f), low);
  V poison = zero();
  const auto put = [&](V a, int64_t i) {
    poison = add(poison, sub(a, a));
    const V clamped = min(max(mul(a, inverse), low), high);
    store_quantised(q + i, add(to_nearest_int(clamped), offset));
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) put(load(x + i), i);
  if (i < n) put(load_n(x + i, n - i), i);
  if (any(ne(poison, poison))) scales.step[r] = __builtin_nanf("");
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
