#pragma once

#include "kernels/embag/bag-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE void copy_row(const float* from, int64_t dim, float* to) {
  int64_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) store(to + i, load(from + i));
  if (i < dim) store_n(to + i, load_n(from + i, dim - i), dim - i);
}

RECSTACK_INLINE void clear(float* to, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(to + i, zero());
  if (i < n) store_n(to + i, zero(), n - i);
}

template <class Index>
int64_t sequence_rows(const SequenceArgs& args) {
  const int64_t prefetch_end =
      args.prefetch_distance > 0 ? args.lookups_ahead - args.prefetch_distance : 0;
  int64_t l = 0;
  for (int64_t b = 0; b < args.bags; ++b) {
    float* to = args.out + b * args.out_stride;
    for (const int64_t end = l + args.lengths[b]; l < end; ++l, to += args.dim) {
      if (l < prefetch_end) {
        prefetch_row(args.table, args.dim,
                     index_at<Index>(args.indices, l + args.prefetch_distance));
      }
      const uint64_t i = index_at<Index>(args.indices, l);
      if (i >= static_cast<uint64_t>(args.rows)) return l;
      if (i == static_cast<uint64_t>(args.padding_index)) {
        clear(to, args.dim);
      } else {
        copy_row(args.table + i * static_cast<uint64_t>(args.dim), args.dim, to);
      }
    }
    clear(to, (args.positions - args.lengths[b]) * args.dim);
  }
  return -1;
}

int64_t sequence_f32(const SequenceArgs& args) {
  return args.index_type == IndexType::int32 ? sequence_rows<int32_t>(args)
                                             : sequence_rows<int64_t>(args);
}

template <class Index>
RECSTACK_INLINE void prefetch_rows(const float* table, uint64_t rows, int64_t dim,
                                   const void* indices, int64_t count) {
  for (int64_t l = 0; l < count; ++l) {
    const uint64_t i = index_at<Index>(indices, l);
    prefetch_row(table, dim, i < rows ? i : 0);
  }
}

void prefetch_f32(const float* table, int64_t rows, int64_t dim, const void* indices,
                  IndexType index_type, int64_t count) {
  if (index_type == IndexType::int32) {
    prefetch_rows<int32_t>(table, static_cast<uint64_t>(rows), dim, indices, count);
  } else {
    prefetch_rows<int64_t>(table, static_cast<uint64_t>(rows), dim, indices, count);
  }
}

}  // namespace

extern const EmbagKernels embag_table;
const EmbagKernels embag_table = {
    .bag_f32 = bag_f32,
    .sequence_f32 = sequence_f32,
    .prefetch_f32 = prefetch_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
