// core/vec.h on AVX-512 (x86-64-v4).
#pragma once

// GCC 12's own header leaves the undefined operand of its masked forms to a self-initialised
// variable, and warns of it in the including file.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kLanes = 16;
struct V {
  __m512 r;
};
struct I {
  __m512i r;
};
struct M {
  __mmask16 r;
};

RECSTACK_INLINE __mmask16 first(int64_t n) {
  return static_cast<__mmask16>(_bzhi_u32(0xffffu, static_cast<unsigned>(n)));
}
RECSTACK_INLINE V set1(float x) { return {_mm512_set1_ps(x)}; }
RECSTACK_INLINE V load(const float* p) { return {_mm512_loadu_ps(p)}; }
RECSTACK_INLINE void store(float* p, V x) { _mm512_storeu_ps(p, x.r); }
RECSTACK_INLINE V load_n(const float* p, int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
RECSTACK_INLINE void store_n(float* p, V x, int64_t n) { _mm512_mask_storeu_ps(p, first(n), x.r); }

RECSTACK_INLINE V add(V a, V b) { return {_mm512_add_ps(a.r, b.r)}; }
RECSTACK_INLINE V sub(V a, V b) { return {_mm512_sub_ps(a.r, b.r)}; }
RECSTACK_INLINE V mul(V a, V b) { return {_mm512_mul_ps(a.r, b.r)}; }
RECSTACK_INLINE V div(V a, V b) { return {_mm512_div_ps(a.r, b.r)}; }
RECSTACK_INLINE V fma(V a, V b, V c) { return {_mm512_fmadd_ps(a.r, b.r, c.r)}; }
RECSTACK_INLINE V min(V a, V b) { return {_mm512_min_ps(a.r, b.r)}; }
RECSTACK_INLINE V max(V a, V b) { return {_mm512_max_ps(a.r, b.r)}; }
RECSTACK_INLINE V sqrt(V x) { return {_mm512_sqrt_ps(x.r)}; }
RECSTACK_INLINE V floor(V x) {
  return {_mm512_roundscale_ps(x.r, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC)};
}

// a * 2^floor(b), rounded once.
RECSTACK_INLINE V scalef(V a, V b) { return {_mm512_scalef_ps(a.r, b.r)}; }

RECSTACK_INLINE M eq(V a, V b) { return {_mm512_cmp_ps_mask(a.r, b.r, _CMP_EQ_OQ)}; }
RECSTACK_INLINE M ne(V a, V b) { return {_mm512_cmp_ps_mask(a.r, b.r, _CMP_NEQ_UQ)}; }
RECSTACK_INLINE M lt(V a, V b) { return {_mm512_cmp_ps_mask(a.r, b.r, _CMP_LT_OQ)}; }
RECSTACK_INLINE M le(V a, V b) { return {_mm512_cmp_ps_mask(a.r, b.r, _CMP_LE_OQ)}; }
RECSTACK_INLINE V select(M m, V a, V b) { return {_mm512_mask_blend_ps(m.r, b.r, a.r)}; }
RECSTACK_INLINE bool any(M m) { return m.r != 0; }

RECSTACK_INLINE I set1_int(int32_t x) { return {_mm512_set1_epi32(x)}; }
RECSTACK_INLINE I bits(V x) { return {_mm512_castps_si512(x.r)}; }
RECSTACK_INLINE V bits(I x) { return {_mm512_castsi512_ps(x.r)}; }
RECSTACK_INLINE I to_int(V x) { return {_mm512_cvttps_epi32(x.r)}; }
RECSTACK_INLINE V to_float(I x) { return {_mm512_cvtepi32_ps(x.r)}; }
RECSTACK_INLINE I add(I a, I b) { return {_mm512_add_epi32(a.r, b.r)}; }
RECSTACK_INLINE I sub(I a, I b) { return {_mm512_sub_epi32(a.r, b.r)}; }
RECSTACK_INLINE I and_bits(I a, I b) { return {_mm512_and_si512(a.r, b.r)}; }
RECSTACK_INLINE I xor_bits(I a, I b) { return {_mm512_xor_si512(a.r, b.r)}; }
template <int kBits>
RECSTACK_INLINE I shift_left(I x) {
  return {_mm512_slli_epi32(x.r, kBits)};
}
template <int kBits>
RECSTACK_INLINE I shift_right(I x) {
  return {_mm512_srai_epi32(x.r, kBits)};
}

// kLanes fp16 numbers, or one in every lane.
RECSTACK_INLINE V load_fp16(const uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
RECSTACK_INLINE V set1_fp16(uint16_t x) {
  return {_mm512_cvtph_ps(_mm256_set1_epi16(static_cast<int16_t>(x)))};
}

// Lane i takes lane i + kWidth of each run of 2 * kWidth lanes; kWidth a power of two.
template <int kWidth>
RECSTACK_INLINE V fold_down(V x) {
  if constexpr (kWidth == 8) return {_mm512_shuffle_f32x4(x.r, x.r, 0x4e)};
  if constexpr (kWidth == 4) return {_mm512_shuffle_f32x4(x.r, x.r, 0xb1)};
  if constexpr (kWidth == 2) return {_mm512_permute_ps(x.r, 0x4e)};
  if constexpr (kWidth == 1) return {_mm512_permute_ps(x.r, 0xb1)};
}
// The first n lanes of x, the others of `rest`.
RECSTACK_INLINE V first_of(V x, V rest, int64_t n) {
  return {_mm512_mask_blend_ps(first(n), rest.r, x.r)};
}

RECSTACK_INLINE float fma1(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

// Rows become columns, in place.
RECSTACK_INLINE void transpose(V (&x)[kLanes]) {
  V t[kLanes];
  RECSTACK_UNROLL
  for (int i = 0; i < kLanes; i += 2) {
    t[i].r = _mm512_unpacklo_ps(x[i].r, x[i + 1].r);
    t[i + 1].r = _mm512_unpackhi_ps(x[i].r, x[i + 1].r);
  }
  const auto low = [](V a, V b) {
    return V{_mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a.r), _mm512_castps_pd(b.r)))};
  };
  const auto high = [](V a, V b) {
    return V{_mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a.r), _mm512_castps_pd(b.r)))};
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
    const __m512 even_low = _mm512_shuffle_f32x4(x[c].r, x[4 + c].r, 0x88);
    const __m512 odd_low = _mm512_shuffle_f32x4(x[c].r, x[4 + c].r, 0xdd);
    const __m512 even_high = _mm512_shuffle_f32x4(x[8 + c].r, x[12 + c].r, 0x88);
    const __m512 odd_high = _mm512_shuffle_f32x4(x[8 + c].r, x[12 + c].r, 0xdd);
    t[c].r = _mm512_shuffle_f32x4(even_low, even_high, 0x88);
    t[4 + c].r = _mm512_shuffle_f32x4(odd_low, odd_high, 0x88);
    t[8 + c].r = _mm512_shuffle_f32x4(even_low, even_high, 0xdd);
    t[12 + c].r = _mm512_shuffle_f32x4(odd_low, odd_high, 0xdd);
  }
  RECSTACK_UNROLL
  for (int i = 0; i < kLanes; ++i) x[i] = t[i];
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
