// Embedding bags: pooled and unpooled lookups of rows in any format, many tables in one pass.
//
//   for t in tables: for b in bags:
//     acc[d] = 0, count = 0
//     for l in lookups of bag b of table t, in order:
//       i = t.indices[l]; if i < 0 or i >= t.rows: return {t, l}
//       if i == t.padding_index: continue
//       acc[d] = fma(t.weights[l] or 1, row(t, i)[d], acc[d]); count += 1
//     t.out[b * t.out_stride + d] = mean ? (count ? acc[d] / count : 0) : acc[d]
//   Pooling::none instead: out[b, p, :] = row(t, indices[p of bag b]) for p < length, zeros up to
//     `positions` (a longer bag is refused by the caller); padding_index rows become zeros.
//   row(t, i)[d]: what the row stands for as fp32 (kernels/quant/row-inl.h); of a scaled row
//     fma(scale, q, bias), for each row before it is added: scale and bias are not factored out of
//     the sum, whose partial sums would cancel.
//
// Accumulator: one fp32 per output element, in lookup order, so a bag's result does not depend on
// the bags and tables beside it. Unweighted sums use plain adds. The tail of a row is masked;
// nothing needs alignment; nothing past `dim` is read or written.
//
// Indices become row addresses a window at a time, bounds checked on the way. Rows are prefetched
// at least `distance` ahead, across the ends of bags and tables alike, every line of a row (of the
// width of the table that is being read): in bursts, or one with each row that is added
// (`Prefetch::burst`). A bag that repeats the one before it (a client that sends a user's features
// once per candidate) is copied. Cost: lookups
// * dim adds (weighted: fma), for scaled rows as many fma again (int4 and int2 on AVX-512: 16 per
// row), lookups * (row_bytes + index) + bags * 4 * dim bytes.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/quant/format.h"

namespace recstack {

enum class Pooling { sum, mean, none };
enum class IndexType { int32, int64 };

// Which cache a row ahead is brought to: x86's T0 (L1), T1 (L2) and NTA.
enum class PrefetchHint { none, t0, t1, nta };

struct Prefetch {
  static constexpr int64_t kMaxDistance = 128, kMaxBurst = 128;
  PrefetchHint hint = PrefetchHint::t1;
  int64_t distance = 32;  // lookups, 1 to kMaxDistance
  // Rows asked for at once where bags are long, 1 to kMaxBurst. 1: with each row that is added, if
  // rows are fp32 and one block of whole lines (up to 256 bytes), else 16. Tables of short bags
  // have bursts of 128.
  int64_t burst = 1;
};

// One table and its bags.
struct BagTable {
  const void* table;  // (rows, row_bytes(format, dim))
  RowFormat format;
  int64_t rows;
  int64_t padding_index;  // -1: none
  Pooling pooling;
  int64_t positions;       // with Pooling::none
  const void* indices;     // (lookups,)
  int64_t lookups;         // the sum of lengths
  const int32_t* lengths;  // (bags,)
  const float* weights;    // (lookups,) or null; with Pooling::sum only
  float* out;              // (bags, dim), or with Pooling::none (bags, positions * dim)
  int64_t out_stride;
};

struct BagsArgs {
  const BagTable* tables;
  int64_t count;
  int64_t after;  // tables behind these whose first rows are prefetched, for the call to come
  bool asked;     // whether the call before this one did so
  int64_t dim;    // of every table here
  int64_t bags;   // of every table here
  IndexType index_type;
  Prefetch prefetch;
  const void* zeros;  // zeros_bytes(dim) zeros: what padding reads
};

// The longest row of `dim` columns, in bytes: of any format, zeros stand for zeros.
constexpr int64_t zeros_bytes(int64_t dim) { return 4 * dim > dim + 8 ? 4 * dim : dim + 8; }

// The first lookup whose index is out of range, maybe of a table behind; table is -1 when there is
// none.
struct BadLookup {
  int64_t table = -1;
  int64_t lookup = 0;
};

struct EmbagKernels {
  // What `out` holds after a bad lookup is of no use.
  BadLookup (*bags)(const BagsArgs&);
};

const EmbagKernels& embag_kernels(Isa isa);

}  // namespace recstack
