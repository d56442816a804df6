// Numbers to bf16 and fp16: rounded to nearest, ties to even, subnormals kept; NaN stays NaN.
#pragma once

#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE uint32_t bits_of(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}

RECSTACK_INLINE float float_of(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

RECSTACK_INLINE uint16_t to_bf16(float x) {
  const uint32_t u = bits_of(x);
  if (x != x) return static_cast<uint16_t>(u >> 16 | 0x40);
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

RECSTACK_INLINE uint16_t to_fp16(float x) {
  const uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
  if (x != x) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520
  // Below 2^-14 the sum's last bit weighs 2^-24, as a denormal's does.
  if (magnitude < 0x38800000) {
    return static_cast<uint16_t>(sign | (bits_of(float_of(magnitude) + 0.5f) - 0x3f000000));
  }
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000 + 0xfff + (u >> 13 & 1)) >> 13);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
