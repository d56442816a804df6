// Embedding bags: pooled and unpooled lookups of fp32 rows.
//
//   for b in bags:
//     acc[d] = 0, count = 0
//     for l in lookups of bag b, in order:
//       i = indices[l]; if i < 0 or i >= rows: return l
//       if i != padding_index: acc[d] = fma(weight[l] or 1, table[i * dim + d], acc[d]); count += 1
//     out[b * out_stride + d] = mean ? (count ? acc[d] / count : 0) : acc[d]
//
// Accumulator: one fp32 per output element, in lookup order, so a bag's result does not depend on
// the bags beside it. Unweighted sums use plain adds. The tail of a row is masked; nothing needs
// alignment; nothing past `dim` is read or written. Rows `prefetch_distance` lookups ahead are
// prefetched to L2, across bag ends, up to `lookups_ahead` (at least the lookups of these bags;
// more when the next tile's indices follow); an index out of range there is never dereferenced.
// Cost: lookups * dim adds (weighted: fma), lookups * (4 * dim + index) + bags * 4 * dim bytes.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace recstack {

enum class Pooling { sum, mean };
enum class IndexType { int32, int64 };

struct EmbagArgs {
  const float* table;  // (rows, dim)
  int64_t rows;
  int64_t dim;
  const void* indices;  // lookups of these bags, then perhaps more
  IndexType index_type;
  int64_t lookups_ahead;   // readable indices from `indices` on
  const int32_t* lengths;  // (bags,)
  int64_t bags;
  const float* weights;  // beside indices, or null; with Pooling::sum only
  Pooling pooling;
  int64_t padding_index;  // -1: none
  int64_t prefetch_distance;
  float* out;  // (bags, dim), rows out_stride apart
  int64_t out_stride;
};

// Unpooled: out[b, p, :] = table[indices[p of bag b]] for p < min(length, positions), zeros after.
// A bag longer than `positions` is refused by the caller; padding_index rows become zeros.
struct SequenceArgs {
  const float* table;
  int64_t rows;
  int64_t dim;
  const void* indices;
  IndexType index_type;
  int64_t lookups_ahead;
  const int32_t* lengths;
  int64_t bags;
  int64_t positions;
  int64_t padding_index;
  int64_t prefetch_distance;
  float* out;  // (bags, positions * dim), rows out_stride apart
  int64_t out_stride;
};

struct EmbagKernels {
  // -1, or the position in `indices` of the first index out of range.
  int64_t (*bag_f32)(const EmbagArgs&);
  int64_t (*sequence_f32)(const SequenceArgs&);
  // Prefetch to L2 the rows of the first `count` indices; never faults, whatever they are.
  void (*prefetch_f32)(const float* table, int64_t rows, int64_t dim, const void* indices,
                       IndexType index_type, int64_t count);
};

const EmbagKernels& embag_kernels(Isa isa);

}  // namespace recstack
