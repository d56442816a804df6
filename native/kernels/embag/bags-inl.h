// Bags from row addresses. A row is taken in blocks of up to kMaxVectors vectors, whose
// accumulators stay in registers over a stretch of lookups.
#pragma once

#include "kernels/embag/walk-inl.h"
#include "kernels/quant/row-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// 256 bytes. A 512-byte row in two turns is 1.35 times as fast as in one when rows come from
// memory, and 0.8 times when all are in L1.
constexpr int kMaxVectors = RECSTACK_ISA >= 2 ? 4 : 8;
constexpr int64_t kMaxBlock = kMaxVectors * kLanes;

// The lookups of one bag in one stretch, and what becomes of their sum.
struct Stretch {
  const uintptr_t* rows;
  int64_t count;
  const float* weights;  // beside rows, or null
  PrefetchHint hint;     // not none: prefetch rows[l + ahead] with row l
  int64_t ahead;
  bool first, last;  // of the bag
  float divisor;     // with `last`; 1: none
};

// How a row divides into blocks: `wide` floats of full blocks, then one of `vectors` vectors whose
// last has `last` lanes.
struct RowShape {
  int64_t wide;
  int64_t vectors;
  int64_t last;

  RECSTACK_INLINE int64_t dim() const { return wide + (vectors - 1) * kLanes + last; }
};

// No prefetch between the adds; else the locality of __builtin_prefetch.
constexpr int kApart = -1;

// Columns [column, column + kVectors * kLanes) of one stretch, the last vector cut to `last` lanes
// if kTail.
template <RowFormat kFormat, int kVectors, bool kTail, bool kWeighted, int kLocality = kApart>
RECSTACK_INLINE void sum_block(const Stretch& s, const RowShape& shape, int64_t column,
                               float* out) {
  const int64_t last = kTail ? shape.last : kLanes;
  V acc[kVectors];
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) {
    const float* p = out + column + c * kLanes;
    acc[c] = s.first ? zero() : kTail && c == kVectors - 1 ? load_n(p, last) : load(p);
  }
  const int64_t count = s.count;
  for (int64_t l = 0; l < count; ++l) {
    if constexpr (kLocality != kApart) {
      RECSTACK_UNROLL
      for (int64_t b = 0; b < kVectors * kLanes * 4; b += 64) {
        const auto line = s.rows[l + s.ahead] + static_cast<uintptr_t>(b);
        __builtin_prefetch(reinterpret_cast<const void*>(line), 0, kLocality);
      }
    }
    const Row<kFormat> row(s.rows[l], shape.dim());
    const V weight = set1(kWeighted ? s.weights[l] : 1.0f);
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const int64_t at = column + c * kLanes;
      const V x = kTail && c == kVectors - 1 ? row.load_n(at, last) : row.load(at);
      acc[c] = kWeighted ? fma(weight, x, acc[c]) : add(acc[c], x);
    }
  }
  if (s.divisor != 1.0f) {
    const V divisor = set1(s.divisor);
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) acc[c] = div(acc[c], divisor);
  }
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) {
    float* p = out + column + c * kLanes;
    if (kTail && c == kVectors - 1) {
      store_n(p, acc[c], last);
    } else {
      store(p, acc[c]);
    }
  }
}

#if RECSTACK_ISA == 0
// The same, accumulators in `out`: little code for formats that take their time here anyway.
template <RowFormat kFormat, bool kWeighted>
RECSTACK_INLINE void sum_in_place(const Stretch& s, const RowShape& shape, float* out) {
  const int64_t dim = shape.dim();
  const auto each = [&](auto next) {
    for (int64_t d = 0; d < dim; d += kLanes) {
      const int64_t n = lesser(kLanes, dim - d);
      store_n(out + d, next(d, n), n);
    }
  };
  if (s.first) each([](int64_t, int64_t) { return zero(); });
  for (int64_t l = 0; l < s.count; ++l) {
    const Row<kFormat> row(s.rows[l], dim);
    const V weight = set1(kWeighted ? s.weights[l] : 1.0f);
    each([&](int64_t d, int64_t n) {
      const V sum = load_n(out + d, n), x = row.load_n(d, n);
      return kWeighted ? fma(weight, x, sum) : add(sum, x);
    });
  }
  if (s.divisor == 1.0f) return;
  each([&](int64_t d, int64_t n) { return div(load_n(out + d, n), set1(s.divisor)); });
}
#endif

// Whether what sums rows can also prefetch them.
template <RowFormat kFormat, int kVectors, bool kTail>
constexpr bool kWholeLines =
    kFormat == RowFormat::fp32 && !kTail && kVectors * kLanes * 4 % 64 == 0;

template <RowFormat kFormat, int kVectors, bool kTail, bool kWeighted>
RECSTACK_INLINE void sum_row(const Stretch& s, const RowShape& shape, float* out) {
#if RECSTACK_ISA == 0
  if constexpr (kFormat != RowFormat::fp32) {
    return sum_in_place<kFormat, kWeighted>(s, shape, out);
  }
#endif
  if constexpr (kWholeLines<kFormat, kVectors, kTail>) {
    if (s.hint == PrefetchHint::t0) {
      return sum_block<kFormat, kVectors, kTail, kWeighted, 3>(s, shape, 0, out);
    }
    if (s.hint == PrefetchHint::t1) {
      return sum_block<kFormat, kVectors, kTail, kWeighted, 2>(s, shape, 0, out);
    }
    if (s.hint == PrefetchHint::nta) {
      return sum_block<kFormat, kVectors, kTail, kWeighted, 0>(s, shape, 0, out);
    }
  }
  if (shape.wide == 0) {
    return sum_block<kFormat, kVectors, kTail, kWeighted>(s, shape, 0, out);
  }
  int64_t column = 0;
  for (; column < shape.wide; column += kMaxBlock) {
    sum_block<kFormat, kMaxVectors, false, kWeighted>(s, shape, column, out);
  }
  sum_block<kFormat, kVectors, kTail, kWeighted>(s, shape, column, out);
}

// Whether lookups [begin, begin + n) are those before them, weights too.
RECSTACK_INLINE bool repeats(const BagTable& t, int64_t index_bytes, int64_t begin, int64_t n) {
  const char* here = static_cast<const char*>(t.indices) + begin * index_bytes;
  const int64_t bytes = n * index_bytes;
  if (__builtin_memcmp(here, here - bytes, 8) != 0) return false;
  if (__builtin_memcmp(here, here - bytes, static_cast<size_t>(bytes)) != 0) return false;
  return t.weights == nullptr || __builtin_memcmp(t.weights + begin, t.weights + begin - n,
                                                  static_cast<size_t>(n) * sizeof(float)) == 0;
}

template <RowFormat kFormat>
RECSTACK_INLINE void copy_row(const Row<kFormat>& from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, from.load(i));
  if (i < n) store_n(to + i, from.load_n(i, n - i), n - i);
}

// Shorter bags cost no more to sum than to compare.
constexpr int64_t kRepeatable = 4;

template <RowFormat kFormat, int kVectors, bool kTail, bool kWeighted>
void pooled(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  const int64_t index_bytes = args.index_type == IndexType::int32 ? 4 : 8;
  const bool mean = t.pooling == Pooling::mean;
  float* out = t.out;
  int64_t before = 0;
  for (int64_t b = 0, l = 0; b < args.bags; ++b, out += t.out_stride) {
    const int64_t n = t.lengths[b];
    if (n >= kRepeatable && n == before && repeats(t, index_bytes, l, n)) {
      const auto before_it = reinterpret_cast<uintptr_t>(out - t.out_stride);
      copy_row(Row<RowFormat::fp32>(before_it, args.dim), args.dim, out);
      walk.skip(n);
      l += n;
      continue;
    }
    before = n;
    int64_t counted = n, left = n;
    do {
      const int64_t count = lesser(left, walk.stretch());
      const uintptr_t* rows = walk.take(count);
      if (mean && t.padding_index >= 0) {
        for (int64_t i = 0; i < count; ++i) counted -= rows[i] == walk.zeros();
      }
      const bool last = left == count;
      const Stretch stretch = {
          .rows = rows,
          .count = count,
          .weights = kWeighted ? t.weights + l : nullptr,
          .hint = walk.between(),
          .ahead = walk.ahead(),
          .first = left == n,
          .last = last,
          .divisor = mean && last && counted > 0 ? static_cast<float>(counted) : 1.0f};
      sum_row<kFormat, kVectors, kTail, kWeighted>(stretch, shape, out);
      l += count;
      left -= count;
    } while (left > 0);
  }
}

template <RowFormat kFormat>
void unpooled(const BagsArgs& args, const BagTable& t, Walk& walk) {
  float* out = t.out;
  for (int64_t b = 0; b < args.bags; ++b, out += t.out_stride) {
    float* to = out;
    for (int64_t left = t.lengths[b]; left > 0;) {
      const int64_t count = lesser(left, walk.stretch());
      const uintptr_t* rows = walk.take(count);
      for (int64_t i = 0; i < count; ++i, to += args.dim) {
        copy_row(Row<kFormat>(rows[i], args.dim), args.dim, to);
      }
      left -= count;
    }
    float* const end = out + t.positions * args.dim;
    for (; to < end; to += kLanes) store_n(to, zero(), lesser(kLanes, end - to));
  }
}

template <RowFormat kFormat, int kVectors, bool kTail>
void bags_of(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  walk.enter(
      t, kWholeLines<kFormat, kVectors, kTail> && shape.wide == 0 && t.pooling != Pooling::none);
  if (t.pooling == Pooling::none) return unpooled<kFormat>(args, t, walk);
  if (t.weights != nullptr) {
    return pooled<kFormat, kVectors, kTail, true>(args, t, shape, walk);
  }
  pooled<kFormat, kVectors, kTail, false>(args, t, shape, walk);
}

template <int kVectors, bool kTail>
void table_bags(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  constexpr int kOwn = RECSTACK_ISA == 0 ? 1 : kVectors;  // scalar: one for all widths
  switch (t.format) {
    case RowFormat::fp32:
      return bags_of<RowFormat::fp32, kVectors, kTail>(args, t, shape, walk);
    // A tail costs the others little: it has no code of its own.
    case RowFormat::fp16:
      return bags_of<RowFormat::fp16, kOwn, true>(args, t, shape, walk);
    case RowFormat::bf16:
      return bags_of<RowFormat::bf16, kOwn, true>(args, t, shape, walk);
    case RowFormat::int8:
      return bags_of<RowFormat::int8, kOwn, true>(args, t, shape, walk);
    case RowFormat::int4:
      return bags_of<RowFormat::int4, kOwn, true>(args, t, shape, walk);
    case RowFormat::int2:
      return bags_of<RowFormat::int2, kOwn, true>(args, t, shape, walk);
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
