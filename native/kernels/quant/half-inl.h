// Runs of fp16 and bf16 to fp32, and fp16 from it.
#pragma once

#include "core/half-inl.h"
#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE float from_fp16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t shifted = static_cast<uint32_t>(half & 0x7fffu) << 13;
  if (shifted >= 0x0f800000u) return float_of(sign | 0x7f800000u | (shifted & 0x7fffffu));
  return float_of(sign | bits_of(float_of(shifted) * 0x1p112f));
}

RECSTACK_INLINE float half_at(uintptr_t address) {
  uint16_t half;
  __builtin_memcpy(&half, reinterpret_cast<const void*>(address), sizeof half);
  return from_fp16(half);
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
  return {Float4{from_fp16(x[0]), from_fp16(x[1]), from_fp16(x[2]), from_fp16(x[3])}};
}
RECSTACK_INLINE Halves narrow_fp16(V x) {
  return Halves{to_fp16(x.r[0]), to_fp16(x.r[1]), to_fp16(x.r[2]), to_fp16(x.r[3])};
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
