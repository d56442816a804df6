// A stored row as vectors of fp32.
//
//   Row<format> row(address, dim)
//   row.load(column)         kLanes values; the row has them all
//   row.load_n(column, n)    the first n of them; lanes past n are anything finite
//
// column is a multiple of kLanes. Nothing past the row is read: what lies behind its values is at
// least as wide as what the widest load may have too much, or the load is masked.
#pragma once

#include "kernels/quant/format.h"
#include "kernels/quant/half-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

template <RowFormat kFormat>
class Row;

template <>
class Row<RowFormat::fp32> {
 public:
  RECSTACK_INLINE Row(uintptr_t row, int64_t) : row_(reinterpret_cast<const float*>(row)) {}
  RECSTACK_INLINE V load(int64_t column) const { return RECSTACK_ISA_NS::load(row_ + column); }
  RECSTACK_INLINE V load_n(int64_t column, int64_t n) const {
    return RECSTACK_ISA_NS::load_n(row_ + column, n);
  }

 private:
  const float* row_;
};

template <class Widen>
class HalfRow {
 public:
  RECSTACK_INLINE HalfRow(uintptr_t row, int64_t) : row_(reinterpret_cast<const uint16_t*>(row)) {}
  RECSTACK_INLINE V load(int64_t column) const { return Widen()(load_halves(row_ + column)); }
  RECSTACK_INLINE V load_n(int64_t column, int64_t n) const {
    return Widen()(load_halves_n(row_ + column, n));
  }

 private:
  const uint16_t* row_;
};

struct WidenFp16 {
  RECSTACK_INLINE V operator()(Halves x) const { return widen_fp16(x); }
};
struct WidenBf16 {
  RECSTACK_INLINE V operator()(Halves x) const { return widen_bf16(x); }
};

template <>
class Row<RowFormat::fp16> : public HalfRow<WidenFp16> {
  using HalfRow::HalfRow;
};

template <>
class Row<RowFormat::bf16> : public HalfRow<WidenBf16> {
  using HalfRow::HalfRow;
};

// kLanes unsigned numbers of kBits bits each, from byte address p on, as floats or as indices.
#if RECSTACK_ISA == 0
template <int kBits>
RECSTACK_INLINE V load_bits(const uint8_t* p) {
  constexpr uint8_t kMask = (1 << kBits) - 1;
  Int4 x;
  for (int i = 0; i < kLanes; ++i) x[i] = p[i * kBits / 8] >> i * kBits % 8 & kMask;
  return to_float(I{x});
}
#elif RECSTACK_ISA == 1
template <int kBits>
RECSTACK_INLINE V load_bits(const uint8_t* p) {
  if constexpr (kBits == 8) {
    return to_float(I{_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))});
  } else {
    uint32_t word = 0;
    __builtin_memcpy(&word, p, kBits);
    const __m256i shifts = _mm256_setr_epi32(0, kBits, 2 * kBits, 3 * kBits, 4 * kBits, 5 * kBits,
                                             6 * kBits, 7 * kBits);
    const __m256i x = _mm256_srlv_epi32(_mm256_set1_epi32(static_cast<int32_t>(word)), shifts);
    return to_float(and_bits(I{x}, set1_int((1 << kBits) - 1)));
  }
}
#endif

template <RowFormat kFormat>
class ScaledRow {
 public:
  RECSTACK_INLINE ScaledRow(uintptr_t row, int64_t dim)
      : row_(reinterpret_cast<const uint8_t*>(row)) {
    const uintptr_t tail = row + static_cast<uintptr_t>(row_values_bytes(kFormat, dim));
    if constexpr (kFormat == RowFormat::int8) {
      float both[2];
      __builtin_memcpy(both, reinterpret_cast<const void*>(tail), sizeof both);
      scale_ = set1(both[0]);
      bias_ = set1(both[1]);
    } else {
      scale_ = widened(tail);
      bias_ = widened(tail + 2);
    }
#if RECSTACK_ISA == 2
    if constexpr (kBits < 8) {
      constexpr float kMost = (1 << kBits) - 1;
      const __m512 counts =
          kMost == 15 ? _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
                      : _mm512_setr_ps(0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
      values_ = fma(scale_, V{counts}, bias_);
    }
#endif
  }

#if RECSTACK_ISA == 2
  RECSTACK_INLINE V load(int64_t column) const {
    const uint8_t* p = row_ + column * kBits / 8;
    if constexpr (kBits == 8) {
      return of_bytes(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    } else if constexpr (kBits == 4) {
      return of_nibbles(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    } else {
      return of_pairs(p);
    }
  }
  RECSTACK_INLINE V load_n(int64_t column, int64_t n) const {
    // With the eight (int4, int2: four) bytes behind the values there is always enough to read.
    const uint8_t* p = row_ + column * kBits / 8;
    if constexpr (kBits == 8) {
      const auto* bytes = reinterpret_cast<const __m128i*>(p);
      return of_bytes(n >= 8 ? _mm_loadu_si128(bytes) : _mm_loadl_epi64(bytes));
    } else if constexpr (kBits == 4) {
      return of_nibbles(n >= 7 ? _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))
                               : _mm_loadu_si32(p));
    } else {
      return of_pairs(p);
    }
  }
#else
  RECSTACK_INLINE V load(int64_t column) const {
    return fma(scale_, load_bits<kBits>(row_ + column * kBits / 8), bias_);
  }
  // Eight bytes at most, as are behind the values of int8; four for the others.
  RECSTACK_INLINE V load_n(int64_t column, int64_t) const { return load(column); }
#endif

 private:
  static constexpr int kBits = static_cast<int>(row_bits(kFormat));

  // An fp16 in every lane as fp32.
  static RECSTACK_INLINE V widened(uintptr_t address) {
#if RECSTACK_ISA == 0
    return set1(half_at(address));
#else
    int16_t half;
    __builtin_memcpy(&half, reinterpret_cast<const void*>(address), sizeof half);
#if RECSTACK_ISA == 2
    return widen_fp16(_mm256_set1_epi16(half));
#else
    return widen_fp16(_mm_set1_epi16(half));
#endif
#endif
  }

#if RECSTACK_ISA == 2
  RECSTACK_INLINE V of_bytes(__m128i x) const {
    return fma(scale_, to_float(I{_mm512_cvtepu8_epi32(x)}), bias_);
  }
  // A lookup uses the low four bits of a lane: nothing needs masking, and int2's repeat.
  RECSTACK_INLINE V of_nibbles(__m128i x) const {
    const __m512i lower_half_first =
        _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i shifts =
        _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
    const __m512i words = _mm512_permutexvar_epi32(lower_half_first, _mm512_castsi128_si512(x));
    return {_mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), values_.r)};
  }
  RECSTACK_INLINE V of_pairs(const uint8_t* p) const {
    int32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    const __m512i shifts =
        _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutexvar_ps(_mm512_srlv_epi32(_mm512_set1_epi32(word), shifts), values_.r)};
  }
  V values_;  // of every q, where they fit in a vector
#endif

  const uint8_t* row_;
  V scale_, bias_;
};

template <>
class Row<RowFormat::int8> : public ScaledRow<RowFormat::int8> {
  using ScaledRow::ScaledRow;
};
template <>
class Row<RowFormat::int4> : public ScaledRow<RowFormat::int4> {
  using ScaledRow::ScaledRow;
};
template <>
class Row<RowFormat::int2> : public ScaledRow<RowFormat::int2> {
  using ScaledRow::ScaledRow;
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
