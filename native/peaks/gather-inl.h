// Rows in column blocks of up to 256 bytes, prefetched in bursts, as kernels/embag reads them; only
// hint and distance vary.
#pragma once

#include "core/vec.h"
#include "peaks/kernels.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kLineFloats = 16;

template <PrefetchHint kHint>
RECSTACK_INLINE void prefetch_line(const float* line) {
  // The second argument is "for reading"; the third is x86's T0, T1 or NTA.
  if constexpr (kHint == PrefetchHint::t0) __builtin_prefetch(line, 0, 3);
  if constexpr (kHint == PrefetchHint::t1) __builtin_prefetch(line, 0, 2);
  if constexpr (kHint == PrefetchHint::nta) __builtin_prefetch(line, 0, 0);
}

// The rows of lookups [begin, end).
template <PrefetchHint kHint>
RECSTACK_INLINE void prefetch_rows(const GatherArgs& args, int64_t begin, int64_t end) {
  if constexpr (kHint == PrefetchHint::none) return;
  for (int64_t l = begin; l < end; ++l) {
    const float* row = args.table + args.indices[l] * args.dim;
    for (int64_t line = 0; line < args.dim; line += kLineFloats) prefetch_line<kHint>(row + line);
  }
}

// Columns [column, column + kLines * kLineFloats) of one bag.
template <int kLines>
RECSTACK_INLINE void pool_block(const GatherArgs& args, int64_t begin, int64_t column) {
  constexpr int kVectors = kLines * kLineFloats / kLanes;
  V acc[kVectors];
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) acc[c] = zero();
  for (int64_t l = begin; l < begin + args.bag; ++l) {
    const float* row = args.table + args.indices[l] * args.dim + column;
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) acc[c] = add(acc[c], load(row + c * kLanes));
  }
  RECSTACK_UNROLL
  for (int c = 0; c < kVectors; ++c) store(args.out + column + c * kLanes, acc[c]);
}

template <PrefetchHint kHint, int kLines>
void pool(const GatherArgs& args) {
  prefetch_rows<kHint>(args, 0, args.distance);
  for (int64_t begin = 0; begin < args.lookups; begin += args.bag) {
    prefetch_rows<kHint>(args, begin + args.distance, begin + args.distance + args.bag);
    for (int64_t column = 0; column < args.dim; column += kLines * kLineFloats) {
      pool_block<kLines>(args, begin, column);
    }
  }
}

template <PrefetchHint kHint>
void gather_with(const GatherArgs& args) {
  switch (args.dim / kLineFloats) {
    case 1:
      return pool<kHint, 1>(args);
    case 2:
      return pool<kHint, 2>(args);
    case 3:
      return pool<kHint, 3>(args);
    default:
      return pool<kHint, 4>(args);
  }
}

void gather_f32(const GatherArgs& args) {
  switch (args.hint) {
    case PrefetchHint::none:
      return gather_with<PrefetchHint::none>(args);
    case PrefetchHint::t0:
      return gather_with<PrefetchHint::t0>(args);
    case PrefetchHint::t1:
      return gather_with<PrefetchHint::t1>(args);
    case PrefetchHint::nta:
      return gather_with<PrefetchHint::nta>(args);
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
