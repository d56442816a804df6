// Pooled lookups. A row is taken in column blocks of up to kMaxVectors vectors, whose accumulators
// stay in registers across the bag; only rows wider than that touch a bag's lines twice.
#pragma once

#include "core/vec.h"
#include "kernels/embag/embag.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// 256 bytes. A 512-byte row in two turns is 1.35 times as fast as in one when rows come from
// memory, and 0.8 times when all are in L1.
constexpr int kMaxVectors = RECSTACK_ISA == 2 ? 4 : 8;

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

struct Bag {
  int64_t begin, end;    // its lookups
  int64_t prefetch_end;  // lookups before this one prefetch
  float* out;
};

// Columns [column, column + kVectors * kLanes) of one bag, the last vector cut to `last` lanes if
// kTail. Returns the position of a bad index, or -1.
template <class Index, int kVectors, bool kTail, bool kWeighted>
RECSTACK_INLINE int64_t bag_block(const EmbagArgs& args, const Bag& bag, int64_t column,
                                  int64_t last) {
  const uint64_t table_rows = static_cast<uint64_t>(args.rows);
  const uint64_t padding = static_cast<uint64_t>(args.padding_index);
  V acc[kVectors];
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) acc[c] = zero();
  int64_t count = 0;
  const auto add_row = [&](int64_t l) {
    const uint64_t i = index_at<Index>(args.indices, l);
    if (__builtin_expect(i >= table_rows, 0)) return false;
    if (i == padding) return true;
    ++count;
    const float* row = args.table + i * static_cast<uint64_t>(args.dim) + column;
    const V weight = set1(kWeighted ? args.weights[l] : 1.0f);
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      const float* p = row + c * kLanes;
      const V x = kTail && c == kVectors - 1 ? load_n(p, last) : load(p);
      acc[c] = kWeighted ? fma(weight, x, acc[c]) : add(acc[c], x);
    }
    return true;
  };
  int64_t l = bag.begin;
  // The first block's prefetches bring whole rows; the others find them in cache.
  for (const int64_t stop = column == 0 ? lesser(bag.end, bag.prefetch_end) : 0; l < stop; ++l) {
    prefetch_row(args.table, args.dim, index_at<Index>(args.indices, l + args.prefetch_distance));
    if (!add_row(l)) return l;
  }
  for (; l < bag.end; ++l) {
    if (!add_row(l)) return l;
  }
  const bool mean = args.pooling == Pooling::mean && count > 0;
  const V divisor = set1(mean ? static_cast<float>(count) : 1.0f);
  float* out = bag.out + column;
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) {
    const V y = mean ? div(acc[c], divisor) : acc[c];
    if constexpr (kTail) {
      store_n(out + c * kLanes, y, c == kVectors - 1 ? last : kLanes);
    } else {
      store(out + c * kLanes, y);
    }
  }
  return -1;
}

// dim = wide blocks of kMaxVectors, then one of kVectors whose last vector has `last` lanes.
template <class Index, int kVectors, bool kTail, bool kWeighted>
int64_t bag_rows(const EmbagArgs& args, int64_t wide, int64_t last) {
  const int64_t ahead = args.prefetch_distance;
  Bag bag = {.begin = 0,
             .end = 0,
             .prefetch_end = ahead > 0 ? args.lookups_ahead - ahead : 0,
             .out = args.out};
  for (int64_t b = 0; b < args.bags; ++b, bag.out += args.out_stride) {
    bag.begin = bag.end;
    bag.end += args.lengths[b];
    int64_t column = 0, refused = -1;
    for (; column < wide && refused < 0; column += kMaxVectors * kLanes) {
      refused = bag_block<Index, kMaxVectors, false, kWeighted>(args, bag, column, kLanes);
    }
    if (refused < 0)
      refused = bag_block<Index, kVectors, kTail, kWeighted>(args, bag, column, last);
    if (refused >= 0) return refused;
  }
  return -1;
}

template <class Index, bool kTail, bool kWeighted>
RECSTACK_INLINE int64_t bag_of_width(const EmbagArgs& args, int64_t wide, int64_t last) {
  switch ((args.dim - wide + kLanes - 1) / kLanes) {
    case 1:
      return bag_rows<Index, 1, kTail, kWeighted>(args, wide, last);
    case 2:
      return bag_rows<Index, 2, kTail, kWeighted>(args, wide, last);
    case 3:
      return bag_rows<Index, 3, kTail, kWeighted>(args, wide, last);
    case 4:
      return bag_rows<Index, 4, kTail, kWeighted>(args, wide, last);
    case 5:
      return bag_rows<Index, 5, kTail, kWeighted>(args, wide, last);
    case 6:
      return bag_rows<Index, 6, kTail, kWeighted>(args, wide, last);
    case 7:
      return bag_rows<Index, 7, kTail, kWeighted>(args, wide, last);
    default:
      return bag_rows<Index, 8, kTail, kWeighted>(args, wide, last);
  }
}

template <class Index, bool kWeighted>
RECSTACK_INLINE int64_t bag_tail(const EmbagArgs& args) {
  const int64_t wide = (args.dim - 1) / (kMaxVectors * kLanes) * (kMaxVectors * kLanes);
  const int64_t last = (args.dim - 1) % kLanes + 1;
  return last == kLanes ? bag_of_width<Index, false, kWeighted>(args, wide, last)
                        : bag_of_width<Index, true, kWeighted>(args, wide, last);
}

template <class Index>
RECSTACK_INLINE int64_t bag_of(const EmbagArgs& args) {
  return args.weights != nullptr ? bag_tail<Index, true>(args) : bag_tail<Index, false>(args);
}

int64_t bag_f32(const EmbagArgs& args) {
  return args.index_type == IndexType::int32 ? bag_of<int32_t>(args) : bag_of<int64_t>(args);
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
