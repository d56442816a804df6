// fp16 and bf16, to and from fp32: rounded to nearest, ties to even, subnormals kept.
#pragma once

#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}
RECSTACK_INLINE float float_of(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

RECSTACK_INLINE uint16_t to_half(float x) {
  const uint32_t sign = bits_of(x) >> 16 & 0x8000u;
  uint32_t size = bits_of(x) & 0x7fffffffu;
  if (size > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (size >= 0x47800000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (size < 0x38800000u) {  // subnormal: beside 0.5 a step is 2^-24, as there
    return static_cast<uint16_t>(sign | (bits_of(float_of(size) + 0.5f) - 0x3f000000u));
  }
  size += 0xc8000fffu + (size >> 13 & 1u);  // exponent 112 lower, and half a step
  return static_cast<uint16_t>(sign | size >> 13);
}

RECSTACK_INLINE float from_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t shifted = static_cast<uint32_t>(half & 0x7fffu) << 13;
  if (shifted >= 0x0f800000u) return float_of(sign | 0x7f800000u | (shifted & 0x7fffffu));
  return float_of(sign | bits_of(float_of(shifted) * 0x1p112f));
}

RECSTACK_INLINE uint16_t to_bf16(float x) {
  const uint32_t bits = bits_of(x);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

RECSTACK_INLINE float half_at(uintptr_t address) {
  uint16_t half;
  __builtin_memcpy(&half, reinterpret_cast<const void*>(address), sizeof half);
  return from_half(half);
}

// kLanes 16-bit numbers as they lie.
#if RECSTACK_ISA == 2
using Halves = __m256i;
RECSTACK_INLINE V widen_fp16(Halves x) { return {_mm512_cvtph_ps(x)}; }
RECSTACK_INLINE Halves narrow_fp16(V x) { return _mm512_cvtps_ph(x.r, _MM_FROUND_TO_NEAREST_INT); }
RECSTACK_INLINE V widen_bf16(Halves x) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16))};
}
#elif RECSTACK_ISA == 1
using Halves = __m128i;
RECSTACK_INLINE V widen_fp16(Halves x) { return {_mm256_cvtph_ps(x)}; }
RECSTACK_INLINE Halves narrow_fp16(V x) { return _mm256_cvtps_ph(x.r, _MM_FROUND_TO_NEAREST_INT); }
RECSTACK_INLINE V widen_bf16(Halves x) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16))};
}
#else
typedef uint16_t Halves __attribute__((vector_size(8)));
RECSTACK_INLINE V widen_fp16(Halves x) {
  return {Float4{from_half(x[0]), from_half(x[1]), from_half(x[2]), from_half(x[3])}};
}
RECSTACK_INLINE Halves narrow_fp16(V x) {
  return Halves{to_half(x.r[0]), to_half(x.r[1]), to_half(x.r[2]), to_half(x.r[3])};
}
RECSTACK_INLINE V widen_bf16(Halves x) {
  return {reinterpret_cast<Float4>(__builtin_convertvector(x, Uint4) << 16)};
}
#endif

RECSTACK_INLINE Halves load_halves(const uint16_t* p) {
  Halves x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
RECSTACK_INLINE Halves load_halves_n(const uint16_t* p, int64_t n) {
#if RECSTACK_ISA == 2
  return _mm256_maskz_loadu_epi16(first(n), p);
#else
  if (n == kLanes) return load_halves(p);
  uint16_t x[kLanes] = {};
  for (int64_t i = 0; i < n; ++i) x[i] = p[i];
  return load_halves(x);
#endif
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
