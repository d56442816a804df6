// Pooled lookups. A row is taken in column blocks of up to kMaxVectors vectors, whose accumulators
// stay in registers across the bag; only rows wider than that touch a bag's lines twice.
#pragma once

#include "core/vec.h"
#include "kernels/embag/embag.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kMaxVectors = 8;

// Lines from the first float of a row to its last, whatever the row's alignment.
RECSTACK_INLINE void prefetch_row(const float* table, int64_t dim, uint64_t row) {
  const uintptr_t begin =
      reinterpret_cast<uintptr_t>(table) + row * static_cast<uint64_t>(dim) * sizeof(float);
  const uintptr_t end = begin + static_cast<uint64_t>(dim) * sizeof(float);
  for (uintptr_t line = begin & ~uintptr_t{63}; line < end; line += 64) prefetch_l2(line);
}

template <class Index>
RECSTACK_INLINE uint64_t index_at(const void* indices, int64_t l) {
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<const Index*>(indices)[l]));
}

// Columns [column, column + kVectors * kLanes), the last vector cut to `last` lanes if kTail.
template <class Index, int kVectors, bool kTail, bool kWeighted>
int64_t bag_columns(const EmbagArgs& args, int64_t column, int64_t last) {
  const uint64_t table_rows = static_cast<uint64_t>(args.rows);
  const uint64_t padding = static_cast<uint64_t>(args.padding_index);
  // The first block's prefetches bring whole rows; later blocks find them in cache.
  const int64_t ahead = args.prefetch_distance;
  const int64_t prefetch_end = column == 0 && ahead > 0 ? args.lookups_ahead - ahead : 0;
  int64_t l = 0;
  for (int64_t b = 0; b < args.bags; ++b) {
    V acc[kVectors];
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) acc[c] = zero();
    int64_t count = 0;
    const auto add_row = [&](int64_t at) {
      const uint64_t i = index_at<Index>(args.indices, at);
      if (__builtin_expect(i >= table_rows, 0)) return false;
      if (i == padding) return true;
      ++count;
      const float* row = args.table + i * static_cast<uint64_t>(args.dim) + column;
      const V weight = set1(kWeighted ? args.weights[at] : 1.0f);
      RECSTACK_UNROLL
      for (int c = 0; c < kVectors; ++c) {
        const float* p = row + c * kLanes;
        const V x = kTail && c == kVectors - 1 ? load_n(p, last) : load(p);
        acc[c] = kWeighted ? fma(weight, x, acc[c]) : add(acc[c], x);
      }
      return true;
    };
    const int64_t end = l + args.lengths[b];
    for (const int64_t stop = lesser(end, prefetch_end); l < stop; ++l) {
      prefetch_row(args.table, args.dim, index_at<Index>(args.indices, l + ahead));
      if (!add_row(l)) return l;
    }
    for (; l < end; ++l) {
      if (!add_row(l)) return l;
    }
    const bool mean = args.pooling == Pooling::mean && count > 0;
    const V divisor = set1(mean ? static_cast<float>(count) : 1.0f);
    float* out = args.out + b * args.out_stride + column;
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const V y = mean ? div(acc[c], divisor) : acc[c];
      if constexpr (kTail) {
        store_n(out + c * kLanes, y, c == kVectors - 1 ? last : kLanes);
      } else {
        store(out + c * kLanes, y);
      }
    }
  }
  return -1;
}

template <class Index, bool kTail, bool kWeighted>
RECSTACK_INLINE int64_t bag_block(const EmbagArgs& args, int64_t column, int vectors,
                                  int64_t last) {
  switch (vectors) {
    case 1:
      return bag_columns<Index, 1, kTail, kWeighted>(args, column, last);
    case 2:
      return bag_columns<Index, 2, kTail, kWeighted>(args, column, last);
    case 3:
      return bag_columns<Index, 3, kTail, kWeighted>(args, column, last);
    case 4:
      return bag_columns<Index, 4, kTail, kWeighted>(args, column, last);
    case 5:
      return bag_columns<Index, 5, kTail, kWeighted>(args, column, last);
    case 6:
      return bag_columns<Index, 6, kTail, kWeighted>(args, column, last);
    case 7:
      return bag_columns<Index, 7, kTail, kWeighted>(args, column, last);
    default:
      return bag_columns<Index, 8, kTail, kWeighted>(args, column, last);
  }
}

template <class Index, bool kWeighted>
int64_t bag_rows(const EmbagArgs& args) {
  int64_t column = 0;
  int64_t refused = -1;
  do {
    const int64_t width = lesser(args.dim - column, kMaxVectors * kLanes);
    const int vectors = static_cast<int>((width + kLanes - 1) / kLanes);
    const int64_t last = width - (vectors - 1) * kLanes;
    refused = last == kLanes ? bag_block<Index, false, kWeighted>(args, column, vectors, last)
                             : bag_block<Index, true, kWeighted>(args, column, vectors, last);
    column += width;
  } while (refused < 0 && column < args.dim);
  return refused;
}

template <class Index>
RECSTACK_INLINE int64_t bag_of(const EmbagArgs& args) {
  return args.weights != nullptr ? bag_rows<Index, true>(args) : bag_rows<Index, false>(args);
}

int64_t bag_f32(const EmbagArgs& args) {
  return args.index_type == IndexType::int32 ? bag_of<int32_t>(args) : bag_of<int64_t>(args);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
