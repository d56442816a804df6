// core/vec.h on AVX2 + FMA (x86-64-v3).
#pragma once

#include <immintrin.h>

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kLanes = 8;
struct V {
  __m256 r;
};
struct I {
  __m256i r;
};
struct M {
  __m256 r;
};

// A window of 8 that starts n before the zeros is the mask of the first n lanes.
alignas(64) constexpr int32_t kMaskWindow[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
RECSTACK_INLINE __m256i first(int64_t n) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMaskWindow + 8 - n));
}
RECSTACK_INLINE V set1(float x) { return {_mm256_set1_ps(x)}; }
RECSTACK_INLINE V load(const float* p) { return {_mm256_loadu_ps(p)}; }
RECSTACK_INLINE void store(float* p, V x) { _mm256_storeu_ps(p, x.r); }
RECSTACK_INLINE V load_n(const float* p, int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
RECSTACK_INLINE void store_n(float* p, V x, int64_t n) { _mm256_maskstore_ps(p, first(n), x.r); }

RECSTACK_INLINE V add(V a, V b) { return {_mm256_add_ps(a.r, b.r)}; }
RECSTACK_INLINE V sub(V a, V b) { return {_mm256_sub_ps(a.r, b.r)}; }
RECSTACK_INLINE V mul(V a, V b) { return {_mm256_mul_ps(a.r, b.r)}; }
RECSTACK_INLINE V div(V a, V b) { return {_mm256_div_ps(a.r, b.r)}; }
RECSTACK_INLINE V fma(V a, V b, V c) { return {_mm256_fmadd_ps(a.r, b.r, c.r)}; }
RECSTACK_INLINE V min(V a, V b) { return {_mm256_min_ps(a.r, b.r)}; }
RECSTACK_INLINE V max(V a, V b) { return {_mm256_max_ps(a.r, b.r)}; }
RECSTACK_INLINE V sqrt(V x) { return {_mm256_sqrt_ps(x.r)}; }
RECSTACK_INLINE V floor(V x) { return {_mm256_floor_ps(x.r)}; }

RECSTACK_INLINE M eq(V a, V b) { return {_mm256_cmp_ps(a.r, b.r, _CMP_EQ_OQ)}; }
RECSTACK_INLINE M ne(V a, V b) { return {_mm256_cmp_ps(a.r, b.r, _CMP_NEQ_UQ)}; }
RECSTACK_INLINE M lt(V a, V b) { return {_mm256_cmp_ps(a.r, b.r, _CMP_LT_OQ)}; }
RECSTACK_INLINE M le(V a, V b) { return {_mm256_cmp_ps(a.r, b.r, _CMP_LE_OQ)}; }
RECSTACK_INLINE V select(M m, V a, V b) { return {_mm256_blendv_ps(b.r, a.r, m.r)}; }
RECSTACK_INLINE bool any(M m) { return _mm256_movemask_ps(m.r) != 0; }

RECSTACK_INLINE I set1_int(int32_t x) { return {_mm256_set1_epi32(x)}; }
RECSTACK_INLINE I bits(V x) { return {_mm256_castps_si256(x.r)}; }
RECSTACK_INLINE V bits(I x) { return {_mm256_castsi256_ps(x.r)}; }
RECSTACK_INLINE I to_int(V x) { return {_mm256_cvttps_epi32(x.r)}; }
RECSTACK_INLINE V to_float(I x) { return {_mm256_cvtepi32_ps(x.r)}; }
RECSTACK_INLINE I add(I a, I b) { return {_mm256_add_epi32(a.r, b.r)}; }
RECSTACK_INLINE I sub(I a, I b) { return {_mm256_sub_epi32(a.r, b.r)}; }
RECSTACK_INLINE I and_bits(I a, I b) { return {_mm256_and_si256(a.r, b.r)}; }
RECSTACK_INLINE I xor_bits(I a, I b) { return {_mm256_xor_si256(a.r, b.r)}; }
template <int kBits>
RECSTACK_INLINE I shift_left(I x) {
  return {_mm256_slli_epi32(x.r, kBits)};
}
template <int kBits>
RECSTACK_INLINE I shift_right(I x) {
  return {_mm256_srai_epi32(x.r, kBits)};
}

// kLanes fp16 numbers, or one in every lane.
RECSTACK_INLINE V load_fp16(const uint16_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
RECSTACK_INLINE V set1_fp16(uint16_t x) {
  return {_mm256_cvtph_ps(_mm_set1_epi16(static_cast<int16_t>(x)))};
}

// Lane i takes lane i + kWidth of each run of 2 * kWidth lanes; kWidth a power of two.
template <int kWidth>
RECSTACK_INLINE V fold_down(V x) {
  if constexpr (kWidth == 4) return {_mm256_permute2f128_ps(x.r, x.r, 0x01)};
  if constexpr (kWidth == 2) return {_mm256_permute_ps(x.r, 0x4e)};
  if constexpr (kWidth == 1) return {_mm256_permute_ps(x.r, 0xb1)};
}
// The first n lanes of x, the others of `rest`.
RECSTACK_INLINE V first_of(V x, V rest, int64_t n) {
  return {_mm256_blendv_ps(rest.r, x.r, _mm256_castsi256_ps(first(n)))};
}

RECSTACK_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// Rows become columns, in place.
RECSTACK_INLINE void transpose(V (&x)[kLanes]) {
  V t[kLanes];
  RECSTACK_UNROLL
  for (int i = 0; i < kLanes; i += 2) {
    t[i].r = _mm256_unpacklo_ps(x[i].r, x[i + 1].r);
    t[i + 1].r = _mm256_unpackhi_ps(x[i].r, x[i + 1].r);
  }
  const auto low = [](V a, V b) {
    return V{_mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a.r), _mm256_castps_pd(b.r)))};
  };
  const auto high = [](V a, V b) {
    return V{_mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a.r), _mm256_castps_pd(b.r)))};
  };
  // After this x[g + c] holds, in 128-bit lane L, column 4 L + c of rows g .. g + 3.
  RECSTACK_UNROLL
  for (int g = 0; g < kLanes; g += 4) {
    x[g] = low(t[g], t[g + 2]);
    x[g + 1] = high(t[g], t[g + 2]);
    x[g + 2] = low(t[g + 1], t[g + 3]);
    x[g + 3] = high(t[g + 1], t[g + 3]);
  }
  RECSTACK_UNROLL
  for (int c = 0; c < 4; ++c) {
    t[c].r = _mm256_permute2f128_ps(x[c].r, x[4 + c].r, 0x20);
    t[4 + c].r = _mm256_permute2f128_ps(x[c].r, x[4 + c].r, 0x31);
  }
  RECSTACK_UNROLL
  for (int i = 0; i < kLanes; ++i) x[i] = t[i];
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
