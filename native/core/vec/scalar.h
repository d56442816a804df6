// core/vec.h on any processor, through the compiler's own vectors of four (SSE2, NEON, or less).
#pragma once

#include <math.h>

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kLanes = 4;
typedef float Float4 __attribute__((vector_size(16)));
typedef int32_t Int4 __attribute__((vector_size(16)));
typedef uint32_t Uint4 __attribute__((vector_size(16)));  // wraps where Int4 must not
struct V {
  Float4 r;
};
struct I {
  Int4 r;
};
struct M {
  Int4 r;
};

RECSTACK_INLINE V set1(float x) { return {Float4{x, x, x, x}}; }
RECSTACK_INLINE V load(const float* p) {
  V x;
  __builtin_memcpy(&x, p, sizeof x);
  return x;
}
RECSTACK_INLINE void store(float* p, V x) { __builtin_memcpy(p, &x, sizeof x); }
RECSTACK_INLINE V load_n(const float* p, int64_t n) {
  return {
      Float4{n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, n > 3 ? p[3] : 0.0f}};
}
RECSTACK_INLINE void store_n(float* p, V x, int64_t n) {
  if (n > 0) p[0] = x.r[0];
  if (n > 1) p[1] = x.r[1];
  if (n > 2) p[2] = x.r[2];
  if (n > 3) p[3] = x.r[3];
}

RECSTACK_INLINE V add(V a, V b) { return {a.r + b.r}; }
RECSTACK_INLINE V sub(V a, V b) { return {a.r - b.r}; }
RECSTACK_INLINE V mul(V a, V b) { return {a.r * b.r}; }
RECSTACK_INLINE V div(V a, V b) { return {a.r / b.r}; }
RECSTACK_INLINE V fma(V a, V b, V c) { return {a.r * b.r + c.r}; }
RECSTACK_INLINE V min(V a, V b) { return {a.r < b.r ? a.r : b.r}; }
RECSTACK_INLINE V max(V a, V b) { return {a.r > b.r ? a.r : b.r}; }
RECSTACK_INLINE V sqrt(V x) {
  return {Float4{sqrtf(x.r[0]), sqrtf(x.r[1]), sqrtf(x.r[2]), sqrtf(x.r[3])}};
}
RECSTACK_INLINE V floor(V x) {
  return {Float4{floorf(x.r[0]), floorf(x.r[1]), floorf(x.r[2]), floorf(x.r[3])}};
}

RECSTACK_INLINE M eq(V a, V b) { return {a.r == b.r}; }
RECSTACK_INLINE M ne(V a, V b) { return {a.r != b.r}; }
RECSTACK_INLINE M lt(V a, V b) { return {a.r < b.r}; }
RECSTACK_INLINE M le(V a, V b) { return {a.r <= b.r}; }
RECSTACK_INLINE V select(M m, V a, V b) { return {m.r ? a.r : b.r}; }
RECSTACK_INLINE bool any(M m) { return (m.r[0] | m.r[1] | m.r[2] | m.r[3]) != 0; }

RECSTACK_INLINE I set1_int(int32_t x) { return {Int4{x, x, x, x}}; }
RECSTACK_INLINE I bits(V x) { return {reinterpret_cast<Int4>(x.r)}; }
RECSTACK_INLINE V bits(I x) { return {reinterpret_cast<Float4>(x.r)}; }
// Lanes out of int32's range are undefined here, as on every set.
RECSTACK_INLINE I to_int(V x) { return {__builtin_convertvector(x.r, Int4)}; }
RECSTACK_INLINE V to_float(I x) { return {__builtin_convertvector(x.r, Float4)}; }
RECSTACK_INLINE Uint4 wrapping(I x) { return reinterpret_cast<Uint4>(x.r); }
RECSTACK_INLINE I add(I a, I b) { return {reinterpret_cast<Int4>(wrapping(a) + wrapping(b))}; }
RECSTACK_INLINE I sub(I a, I b) { return {reinterpret_cast<Int4>(wrapping(a) - wrapping(b))}; }
RECSTACK_INLINE I and_bits(I a, I b) { return {a.r & b.r}; }
RECSTACK_INLINE I xor_bits(I a, I b) { return {a.r ^ b.r}; }
template <int kBits>
RECSTACK_INLINE I shift_left(I x) {
  return {reinterpret_cast<Int4>(wrapping(x) << kBits)};
}
template <int kBits>
RECSTACK_INLINE I shift_right(I x) {
  return {x.r >> kBits};
}

// Lane i takes lane i + kWidth of each run of 2 * kWidth lanes; kWidth a power of two.
template <int kWidth>
RECSTACK_INLINE V fold_down(V x) {
  if constexpr (kWidth == 2) return {__builtin_shufflevector(x.r, x.r, 2, 3, 0, 1)};
  if constexpr (kWidth == 1) return {__builtin_shufflevector(x.r, x.r, 1, 0, 3, 2)};
}
// fp16 numbers in the low halves of x: their bits belong 13 places further up, and the exponent's
// bias is 112 more.
RECSTACK_INLINE V widen_fp16(I x) {
  const I magnitude = and_bits(x, set1_int(0x7fff));
  const I sign = shift_left<16>(and_bits(x, set1_int(0x8000)));
  const I moved = shift_left<13>(magnitude);
  const I finite = bits(mul(bits(moved), set1(0x1p112f)));
  const I special = {moved.r | 0x7f800000};
  return bits(xor_bits(sign, I{magnitude.r >= 0x7c00 ? special.r : finite.r}));
}
// kLanes fp16 numbers, or one in every lane.
RECSTACK_INLINE V load_fp16(const uint16_t* p) {
  return widen_fp16({Int4{p[0], p[1], p[2], p[3]}});
}
RECSTACK_INLINE V set1_fp16(uint16_t x) { return widen_fp16(set1_int(x)); }

// The first n lanes of x, the others of `rest`.
RECSTACK_INLINE V first_of(V x, V rest, int64_t n) {
  for (int64_t i = n; i < kLanes; ++i) x.r[i] = rest.r[i];
  return x;
}

RECSTACK_INLINE float fma1(float a, float b, float c) { return a * b + c; }

// Rows become columns, in place.
RECSTACK_INLINE void transpose(V (&x)[kLanes]) {
  const Float4 a = x[0].r, b = x[1].r, c = x[2].r, d = x[3].r;
  x[0].r = Float4{a[0], b[0], c[0], d[0]};
  x[1].r = Float4{a[1], b[1], c[1], d[1]};
  x[2].r = Float4{a[2], b[2], c[2], d[2]};
  x[3].r = Float4{a[3], b[3], c[3], d[3]};
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
