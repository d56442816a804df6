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
  // Half of the lanes each: one fold serves both.
  const auto lower = [](V a, V b) { return min(a, b); };
  constexpr int kHalf = kLanes / 2;
  high = neg(high);
  const V both = fold_all<kHalf / 2>(
      first_of(lower(low, fold_down<kHalf>(low)), lower(high, fold_down<kHalf>(high)), kHalf),
      lower);
  *row_low = first_lane(both);
  *row_high = -both.r[kHalf];
}

// Of rows [r, r + rows), up to kLanes of them and r a multiple of that: `given`, or their own.
template <int64_t kRows>
RECSTACK_INLINE void find_scales(const float* x, int64_t x_stride, int64_t r, int64_t rows,
                                 const PackedLayer8& layer, const RowScale8* given,
                                 RowScales<kRows>& scales) {
  V step, inverse, zero_point;
  if (given == nullptr) {
    for (int64_t m = r; m < r + rows; ++m) {
      own_range(x + m * x_stride, layer, scales.low + m, scales.high + m);
    }
    scales_of(load_n(scales.low + r, rows), load_n(scales.high + r, rows), step, inverse,
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

// n values of row r, to whole runs of vectors. A row with numbers that int32 may not hold, NaN and
// infinity among them, is done again carefully: those two become NaN in its step.
template <bool kCareful, int64_t kRows>
RECSTACK_INLINE void quantise(const float* x, int64_t n, RowScales<kRows>& scales, int64_t r,
                              Quantised* q) {
  constexpr int64_t kRun = kQuantisedVectors * kLanes;
  const V inverse = set1(scales.inverse[r]);
  const int32_t zero_point = scales.zero[r];
  const V low = set1(-static_cast<float>(zero_point)), high = add(set1(255.0f), low);
  V poison = zero();
  I least = set1_int(0);
  const auto put = [&](int64_t i, const auto& load_vector) {
    I steps[kQuantisedVectors];
    RECSTACK_UNROLL
    for (int v = 0; v < kQuantisedVectors; ++v) {
      const V a = load_vector(i + v * kLanes);
      V y = mul(a, inverse);
      if constexpr (kCareful) {
        poison = fma(a, zero(), poison);
        y = min(max(y, low), high);
      }
      steps[v] = to_nearest_int(y);
    }
    store_quantised(q + i, steps, zero_point, least);
  };
  int64_t i = 0;
  for (; i + kRun <= n; i += kRun) put(i, [=](int64_t at) { return load(x + at); });
  if (i < n) {
    put(i, [=](int64_t at) {
      return at + kLanes <= n ? load(x + at) : at < n ? load_n(x + at, n - at) : zero();
    });
  }
  if constexpr (kCareful) {
    if (any(ne(poison, poison))) scales.step[r] = __builtin_nanf("");
  } else if (past_int16(least)) {
    quantise<true>(x, n, scales, r, q);
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
