// fp32 vectors of one instruction set, for the files that are compiled once per set.
//
// A file defines RECSTACK_ISA (0 scalar, 1 avx2, 2 avx512, 3 avx512_bf16) before its first
// include. All names live
// in recstack::<set>::(anonymous): the linker can never merge code of one set into another. Code
// that is compiled so calls no std:: function or template, for the same reason.
//
//   V, I, M             kLanes floats, int32s, and the result of a comparison
//   load_n, store_n     the first n lanes, 0 <= n <= kLanes; lanes past n are 0, never touched
//   fma(a, b, c)        a * b + c, rounded once; in `scalar` twice, as set-independent base
//   hardware
//                       has no fused operation
//   load_fp16           fp16 in memory, exact; NaN stays NaN
//   min, max            x86's: the second operand when either is NaN
#pragma once

#include <cstdint>

#if RECSTACK_ISA == 3
#define RECSTACK_ISA_NS avx512_bf16
#elif RECSTACK_ISA == 2
#define RECSTACK_ISA_NS avx512
#elif RECSTACK_ISA == 1
#define RECSTACK_ISA_NS avx2
#elif RECSTACK_ISA == 0
#define RECSTACK_ISA_NS scalar
#else
#error "define RECSTACK_ISA as 0, 1, 2 or 3 before including core/vec.h"
#endif

#define RECSTACK_INLINE inline __attribute__((always_inline))
#define RECSTACK_UNROLL _Pragma("GCC unroll 32")

#if RECSTACK_ISA >= 2
#include "core/vec/avx512.h"
#elif RECSTACK_ISA == 1
#include "core/vec/avx2.h"
#else
#include "core/vec/scalar.h"
#endif

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE V zero() { return set1(0.0f); }
RECSTACK_INLINE V neg(V x) { return bits(xor_bits(bits(x), set1_int(INT32_MIN))); }
RECSTACK_INLINE V abs(V x) { return bits(and_bits(bits(x), set1_int(INT32_MAX))); }
RECSTACK_INLINE V copysign(V magnitude, V sign) {
  return bits(xor_bits(and_bits(bits(magnitude), set1_int(INT32_MAX)),
                       and_bits(bits(sign), set1_int(INT32_MIN))));
}
RECSTACK_INLINE V is_nan_select(V probe, V if_nan, V otherwise) {
  return select(ne(probe, probe), if_nan, otherwise);
}
// NaN in either operand gives NaN, as numpy and torch have it.
RECSTACK_INLINE V nan_max(V a, V b) { return is_nan_select(a, a, max(a, b)); }
RECSTACK_INLINE V nan_min(V a, V b) { return is_nan_select(a, a, min(a, b)); }

// Every lane becomes the fold of all, in a fixed tree: halves onto each other.
template <int kWidth = kLanes / 2, class Fold>
RECSTACK_INLINE V fold_all(V x, Fold fold) {
  x = fold(x, fold_down<kWidth>(x));
  if constexpr (kWidth > 1) x = fold_all<kWidth / 2>(x, fold);
  return x;
}
RECSTACK_INLINE float first_lane(V x) { return x.r[0]; }
RECSTACK_INLINE float sum_lanes(V x) {
  return first_lane(fold_all(x, [](V a, V b) { return add(a, b); }));
}

RECSTACK_INLINE int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
RECSTACK_INLINE int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }
RECSTACK_INLINE int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// To L2: the distance is long, and L1 is too small to hold that many rows until they are used.
RECSTACK_INLINE void prefetch_l2(uintptr_t address) {
  __builtin_prefetch(reinterpret_cast<const void*>(address), 0, 2);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
