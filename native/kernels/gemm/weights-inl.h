// How packed weights of a format, and the inputs that meet them, become operands of multiply-adds.
//
// A panel is made of words, one per column and step. In a step every column's word meets kParts
// elements of x as `load_x` leaves them, one multiply-add each:
//
//   kParts, kValues   multiply-adds, and columns of x, in a step
//   kXValues          columns of x in one element of what load_x makes
//   kRoundsX          whether these differ from x
//   load(w, part)     the operand of one multiply-add, of kLanes columns; broadcast: of one column
//
//   fp32, fp16        a step is a column of x
//   bf16              a step is a pair of columns: the second in a word's high half, where bf16 is
//                     fp32 without its last 16 bits. avx512_bf16 multiplies the pair in one
//                     instruction, as x is a pair then; the others in two, the second first.
#pragma once

#include "core/half-inl.h"
#include "core/vec.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

struct Fp32 {
  using Word = float;
  static constexpr bool kRoundsX = false;
  static constexpr int kParts = 1, kValues = 1, kXValues = 1;
  static RECSTACK_INLINE Word word(const float* w, int64_t) { return w[0]; }
  static RECSTACK_INLINE V load_x(const float* x) { return recstack::RECSTACK_ISA_NS::load(x); }
  static RECSTACK_INLINE V load_x(const float* x, int64_t values) { return load_n(x, values); }
  static RECSTACK_INLINE V load(const Word* w, int) { return recstack::RECSTACK_ISA_NS::load(w); }
  static RECSTACK_INLINE V broadcast(Word w, int) { return set1(w); }
  static RECSTACK_INLINE V multiply_add(V x, V w, V acc) { return fma(x, w, acc); }
};

struct Bf16 {
  using Word = uint32_t;
  static constexpr bool kRoundsX = true;
  static constexpr int kValues = 2;
  static RECSTACK_INLINE Word word(const float* w, int64_t values) {
    return to_bf16(w[0]) | static_cast<uint32_t>(values > 1 ? to_bf16(w[1]) : 0) << 16;
  }
#if RECSTACK_ISA == 3
  static constexpr int kParts = 1, kXValues = 2;
  static RECSTACK_INLINE V pairs(V low, V high) {
    return {_mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high.r, low.r))};
  }
  // Elements of two columns of x whose rows are in lanes: their first of two, and the only one.
  static RECSTACK_INLINE V pair_lanes(V first, V second, int) {
    alignas(64) static constexpr uint16_t kSpread[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                         21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                         11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i order = _mm512_load_si512(kSpread);
    return {_mm512_castsi512_ps(
        _mm512_permutexvar_epi16(order, _mm512_castps_si512(pairs(first, second).r)))};
  }
  static RECSTACK_INLINE V load_x(const float* x) {
    return pairs(recstack::RECSTACK_ISA_NS::load(x), recstack::RECSTACK_ISA_NS::load(x + kLanes));
  }
  static RECSTACK_INLINE V load_x(const float* x, int64_t values) {
    const int64_t n = lesser(values, 2 * kLanes);
    return pairs(load_n(x, lesser(n, kLanes)),
                 n <= kLanes ? zero() : load_n(x + kLanes, n - kLanes));
  }
  static RECSTACK_INLINE V load(const Word* w, int) {
    return recstack::RECSTACK_ISA_NS::load(reinterpret_cast<const float*>(w));
  }
  static RECSTACK_INLINE V broadcast(Word w, int) {
    return bits(set1_int(static_cast<int32_t>(w)));
  }
  static RECSTACK_INLINE V multiply_add(V x, V w, V acc) {
    return {_mm512_dpbf16_ps(acc.r, (__m512bh)x.r, (__m512bh)w.r)};
  }
#else
  static constexpr int kParts = 2, kXValues = 1;
  static RECSTACK_INLINE V rounded(V x) {
    const I u = bits(x);
    const I even = and_bits(shift_right<16>(u), set1_int(1));
    const I up = add(u, add(even, set1_int(0x7fff)));
    return is_nan_select(x, x, bits(and_bits(up, set1_int(-0x10000))));
  }
  static RECSTACK_INLINE V pair_lanes(V first, V second, int element) {
    return rounded(element == 0 ? first : second);
  }
  static RECSTACK_INLINE V load_x(const float* x) {
    return rounded(recstack::RECSTACK_ISA_NS::load(x));
  }
  static RECSTACK_INLINE V load_x(const float* x, int64_t values) {
    return rounded(load_n(x, values));
  }
  static RECSTACK_INLINE V half(I words, int part) {
    return bits(part == 0 ? and_bits(words, set1_int(-0x10000)) : shift_left<16>(words));
  }
  static RECSTACK_INLINE V load(const Word* w, int part) {
    return half(bits(recstack::RECSTACK_ISA_NS::load(reinterpret_cast<const float*>(w))), part);
  }
  static RECSTACK_INLINE V broadcast(Word w, int part) {
    return half(set1_int(static_cast<int32_t>(w)), part);
  }
  static RECSTACK_INLINE V multiply_add(V x, V w, V acc) { return fma(x, w, acc); }
#endif
};

struct Fp16 {
  using Word = uint16_t;
  static constexpr bool kRoundsX = false;
  static constexpr int kParts = 1, kValues = 1, kXValues = 1;
  static RECSTACK_INLINE Word word(const float* w, int64_t) { return to_fp16(w[0]); }
  static RECSTACK_INLINE V load_x(const float* x) { return recstack::RECSTACK_ISA_NS::load(x); }
  static RECSTACK_INLINE V load_x(const float* x, int64_t values) { return load_n(x, values); }
  static RECSTACK_INLINE V load(const Word* w, int) { return load_fp16(w); }
  static RECSTACK_INLINE V broadcast(Word w, int) { return set1_fp16(w); }
  static RECSTACK_INLINE V multiply_add(V x, V w, V acc) { return fma(x, w, acc); }
};

// `values` columns of x as load_x makes them; up to kLanes - 1 elements past the last are written
// too.
template <class W>
RECSTACK_INLINE void copy_elements(const float* x, int64_t values, float* to) {
  constexpr int64_t kStride = kLanes * W::kXValues;
  for (; values >= kStride; values -= kStride, x += kStride, to += kLanes) {
    store(to, W::load_x(x));
  }
  if (values > 0) store(to, W::load_x(x, values));
}

// Steps of a chain over k columns of x.
template <class W>
RECSTACK_INLINE int64_t steps_of(int64_t k) {
  return (k + W::kValues - 1) / W::kValues;
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
