// Bags from row addresses. A row is taken in blocks of up to kMaxVectors vectors, whose
// accumulators stay in registers over a stretch of lookups.
#pragma once

#include "kernels/embag/walk-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// 256 bytes. A 512-byte row in two turns is 1.35 times as fast as in one when rows come from
// memory, and 0.8 times when all are in L1.
constexpr int kMaxVectors = RECSTACK_ISA >= 2 ? 4 : 8;
constexpr int64_t kMaxBlock = kMaxVectors * kLanes;

// The lookups of one bag in one stretch, and what becomes of their sum.
struct Stretch {
  const uintptr_t* rows;
  const uintptr_t* ahead;  // of the rows to prefetch, beside `rows`
  int64_t count;
  const float* weights;  // beside rows, or null
  bool first, last;      // of the bag
  float divisor;         // with `last`; 1: none
};

// How a row divides into blocks: `wide` floats of full blocks, then one of `vectors` vectors whose
// last has `last` lanes.
struct RowShape {
  int64_t wide;
  int64_t vectors;
  int64_t last;
  int64_t row_bytes;
  bool aligned;  // every row starts on a cache line
};

template <int kHint>
RECSTACK_INLINE void prefetch_row(uintptr_t row, int64_t bytes, bool aligned) {
  for (int64_t b = 0; b < bytes; b += 64) prefetch_line<kHint>(row + static_cast<uint64_t>(b));
  if (!aligned) prefetch_line<kHint>(row + static_cast<uint64_t>(bytes - 1));
}

// Columns [column, column + kVectors * kLanes) of one stretch, the last vector cut to `last` lanes
// if kTail. The first block prefetches whole rows: kOnly where it is the row's only one.
template <int kVectors, bool kTail, bool kWeighted, int kHint, bool kOnly>
RECSTACK_INLINE void sum_block(const Stretch& s, const RowShape& shape, int64_t column,
                               float* out) {
  constexpr int64_t kBytes = kVectors * kLanes * 4;
  const int64_t last = kTail ? shape.last : kLanes;
  V acc[kVectors];
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) {
    const float* p = out + column + c * kLanes;
    acc[c] = s.first ? zero() : kTail && c == kVectors - 1 ? load_n(p, last) : load(p);
  }
  const int64_t count = s.count;
  for (int64_t l = 0; l < count; ++l) {
    if constexpr (kOnly) {
      const uintptr_t ahead = s.ahead[l];
      RECSTACK_UNROLL
      for (int64_t b = 0; b < kBytes; b += 64) prefetch_line<kHint>(ahead + b);
      if (!shape.aligned) prefetch_line<kHint>(ahead + static_cast<uint64_t>(shape.row_bytes - 1));
    } else if (column == 0) {
      prefetch_row<kHint>(s.ahead[l], shape.row_bytes, shape.aligned);
    }
    const float* row = reinterpret_cast<const float*>(s.rows[l]) + column;
    const V weight = set1(kWeighted ? s.weights[l] : 1.0f);
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const V x =
          kTail && c == kVectors - 1 ? load_n(row + c * kLanes, last) : load(row + c * kLanes);
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

template <int kVectors, bool kTail, bool kWeighted, int kHint>
RECSTACK_INLINE void sum_row(const Stretch& s, const RowShape& shape, float* out) {
  if (shape.wide == 0) {
    return sum_block<kVectors, kTail, kWeighted, kHint, true>(s, shape, 0, out);
  }
  int64_t column = 0;
  for (; column < shape.wide; column += kMaxBlock) {
    sum_block<kMaxVectors, false, kWeighted, kHint, false>(s, shape, column, out);
  }
  sum_block<kVectors, kTail, kWeighted, kHint, false>(s, shape, column, out);
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

RECSTACK_INLINE void copy_row(const float* from, int64_t n, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, load(from + i));
  if (i < n) store_n(to + i, load_n(from + i, n - i), n - i);
}

// Shorter bags cost no more to sum than to compare.
constexpr int64_t kRepeatable = 4;

template <int kVectors, bool kTail, bool kWeighted, int kHint>
void pooled(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  const int64_t index_bytes = args.index_type == IndexType::int32 ? 4 : 8;
  const int64_t ahead = args.prefetch.distance;
  const bool mean = t.pooling == Pooling::mean;
  float* out = t.out;
  int64_t before = 0;
  for (int64_t b = 0, l = 0; b < args.bags; ++b, out += t.out_stride) {
    const int64_t n = t.lengths[b];
    if (n >= kRepeatable && n == before && repeats(t, index_bytes, l, n)) {
      copy_row(out - t.out_stride, args.dim, out);
      walk.skip(n);
      l += n;
      continue;
    }
    before = n;
    int64_t counted = n, left = n;
    do {
      const int64_t count = lesser(left, kStretch);
      const uintptr_t* rows = walk.take(count);
      if (mean && t.padding_index >= 0) {
        for (int64_t i = 0; i < count; ++i) counted -= rows[i] == walk.zeros();
      }
      const bool last = left == count;
      const Stretch stretch = {
          .rows = rows,
          .ahead = rows + ahead,
          .count = count,
          .weights = kWeighted ? t.weights + l : nullptr,
          .first = left == n,
          .last = last,
          .divisor = mean && last && counted > 0 ? static_cast<float>(counted) : 1.0f};
      sum_row<kVectors, kTail, kWeighted, kHint>(stretch, shape, out);
      l += count;
      left -= count;
    } while (left > 0);
  }
}

template <int kHint>
void unpooled(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  const int64_t ahead = args.prefetch.distance;
  float* out = t.out;
  for (int64_t b = 0; b < args.bags; ++b, out += t.out_stride) {
    float* to = out;
    for (int64_t left = t.lengths[b]; left > 0;) {
      const int64_t count = lesser(left, kStretch);
      const uintptr_t* rows = walk.take(count);
      for (int64_t i = 0; i < count; ++i, to += args.dim) {
        prefetch_row<kHint>(rows[i + ahead], shape.row_bytes, shape.aligned);
        copy_row(reinterpret_cast<const float*>(rows[i]), args.dim, to);
      }
      left -= count;
    }
    float* const end = out + t.positions * args.dim;
    for (; to < end; to += kLanes) store_n(to, zero(), lesser(kLanes, end - to));
  }
}

template <int kVectors, bool kTail, int kHint>
void table_bags(const BagsArgs& args, const BagTable& t, const RowShape& shape, Walk& walk) {
  if (t.pooling == Pooling::none) return unpooled<kHint>(args, t, shape, walk);
  if (t.weights != nullptr) return pooled<kVectors, kTail, true, kHint>(args, t, shape, walk);
  pooled<kVectors, kTail, false, kHint>(args, t, shape, walk);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
