// What gemm8 needs of an instruction set beyond core/vec.h: four, two or one product per int32
// lane. A group is the 32 bits of quantised activations that one lane multiplies.
#pragma once

#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

#if RECSTACK_ISA == 3
using Quantised = uint8_t;
#elif RECSTACK_ISA >= 1
// vpmaddubsw would saturate (255 * 127 * 2 > 32767): both sides are widened to int16 instead.
using Quantised = int16_t;
#else
using Quantised = int32_t;
#endif
constexpr int64_t kGroup = 4 / sizeof(Quantised);

// store_quantised: kQuantisedVectors vectors of whole numbers, `zero` added, as u8 (or wider) from
// p on. Outside scalar what lies past [0, 255] then saturates; the 16-bit lanes of `least` go down
// to the smallest numbers met, and INT16_MIN stands for every one below.
#if RECSTACK_ISA == 3
RECSTACK_INLINE I load_weights(const int8_t* p) { return {_mm512_loadu_si512(p)}; }
RECSTACK_INLINE I dot(I acc, I q, I w) { return {_mm512_dpbusd_epi32(acc.r, q.r, w.r)}; }

constexpr int kQuantisedVectors = 4;
RECSTACK_INLINE void store_quantised(Quantised* p, const I (&x)[kQuantisedVectors], int32_t zero,
                                     I& least) {
  const __m512i offset = _mm512_set1_epi16(static_cast<int16_t>(zero));
  const __m512i a = _mm512_packs_epi32(x[0].r, x[1].r), b = _mm512_packs_epi32(x[2].r, x[3].r);
  least.r = _mm512_min_epi16(least.r, _mm512_min_epi16(a, b));
  const __m512i q = _mm512_packus_epi16(_mm512_adds_epi16(a, offset), _mm512_adds_epi16(b, offset));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, q));
}
#elif RECSTACK_ISA == 2
RECSTACK_INLINE I load_weights(const int8_t* p) {
  return {_mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
RECSTACK_INLINE I dot(I acc, I q, I w) {
  return {_mm512_add_epi32(acc.r, _mm512_madd_epi16(q.r, w.r))};
}

constexpr int kQuantisedVectors = 2;
RECSTACK_INLINE void store_quantised(Quantised* p, const I (&x)[kQuantisedVectors], int32_t zero,
                                     I& least) {
  const __m512i a = _mm512_packs_epi32(x[0].r, x[1].r);
  least.r = _mm512_min_epi16(least.r, a);
  const __m512i moved = _mm512_adds_epi16(a, _mm512_set1_epi16(static_cast<int16_t>(zero)));
  const __m512i positive = _mm512_max_epi16(moved, _mm512_setzero_si512());
  const __m512i q = _mm512_min_epi16(positive, _mm512_set1_epi16(255));
  _mm512_storeu_si512(p, _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), q));
}
#elif RECSTACK_ISA == 1
RECSTACK_INLINE I load_weights(const int8_t* p) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
RECSTACK_INLINE I dot(I acc, I q, I w) {
  return {_mm256_add_epi32(acc.r, _mm256_madd_epi16(q.r, w.r))};
}

constexpr int kQuantisedVectors = 2;
RECSTACK_INLINE void store_quantised(Quantised* p, const I (&x)[kQuantisedVectors], int32_t zero,
                                     I& least) {
  const __m256i a = _mm256_packs_epi32(x[0].r, x[1].r);
  least.r = _mm256_min_epi16(least.r, a);
  const __m256i moved = _mm256_adds_epi16(a, _mm256_set1_epi16(static_cast<int16_t>(zero)));
  const __m256i positive = _mm256_max_epi16(moved, _mm256_setzero_si256());
  const __m256i q = _mm256_min_epi16(positive, _mm256_set1_epi16(255));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(q, 0xd8));
}
#else
RECSTACK_INLINE I load_weights(const int8_t* p) { return {Int4{p[0], p[1], p[2], p[3]}}; }
// Wraps: where the scale is NaN, weights made at run time may be any number.
RECSTACK_INLINE I dot(I acc, I q, I w) {
  return {reinterpret_cast<Int4>(wrapping(acc) + wrapping(q) * wrapping(w))};
}

constexpr int kQuantisedVectors = 1;
RECSTACK_INLINE void store_quantised(Quantised* p, const I (&x)[kQuantisedVectors], int32_t zero,
                                     I&) {
  const I q = add(x[0], set1_int(zero));
  __builtin_memcpy(p, &q, sizeof q);
}
#endif

// Whether `least` met a number that int16 does not hold, or one that is none.
RECSTACK_INLINE bool past_int16(I least) {
#if RECSTACK_ISA >= 2
  return _mm512_cmpeq_epi16_mask(least.r, _mm512_set1_epi16(INT16_MIN)) != 0;
#elif RECSTACK_ISA == 1
  return _mm256_movemask_epi8(_mm256_cmpeq_epi16(least.r, _mm256_set1_epi16(INT16_MIN))) != 0;
#else
  (void)least;
  return true;
#endif
}

// Every lane gets the same group.
RECSTACK_INLINE I spread_group(const Quantised* p) {
  int32_t group;
  __builtin_memcpy(&group, p, sizeof group);
  return set1_int(group);
}

#if RECSTACK_ISA >= 2
RECSTACK_INLINE I load_ints(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
RECSTACK_INLINE void store_ints(int32_t* p, I x) { _mm512_storeu_si512(p, x.r); }
RECSTACK_INLINE I mul_low(I a, I b) { return {_mm512_mullo_epi32(a.r, b.r)}; }
RECSTACK_INLINE I to_nearest_int(V x) { return {_mm512_cvtps_epi32(x.r)}; }
#elif RECSTACK_ISA == 1
RECSTACK_INLINE I load_ints(const int32_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
RECSTACK_INLINE void store_ints(int32_t* p, I x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x.r);
}
RECSTACK_INLINE I mul_low(I a, I b) { return {_mm256_mullo_epi32(a.r, b.r)}; }
RECSTACK_INLINE I to_nearest_int(V x) { return {_mm256_cvtps_epi32(x.r)}; }
#else
RECSTACK_INLINE I load_ints(const int32_t* p) {
  I x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
RECSTACK_INLINE void store_ints(int32_t* p, I x) { __builtin_memcpy(p, &x, sizeof x); }
RECSTACK_INLINE I mul_low(I a, I b) { return {reinterpret_cast<Int4>(wrapping(a) * wrapping(b))}; }
// |x| < 2^22: adding 1.5 * 2^23 leaves the integer in the low bits.
RECSTACK_INLINE I to_nearest_int(V x) {
  const V magic = set1(12582912.0f);
  return sub(bits(add(x, magic)), bits(magic));
}
#endif

// |x| < 2^22, to nearest even.
RECSTACK_INLINE float nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
