// Rows in column blocks of up to 256 bytes, as kernels/embag reads them, but without a prefetch or
// a check: what caches allow.
#pragma once

#include "core/vec.h"
#include "peaks/kernels.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int kLineFloats = 16;

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

template <int kLines>
void pool(const GatherArgs& args) {
  for (int64_t begin = 0; begin < args.lookups; begin += args.bag) {
    for (int64_t column = 0; column < args.dim; column += kLines * kLineFloats) {
      pool_block<kLines>(args, begin, column);
    }
  }
}

void gather_f32(const GatherArgs& args) {
  switch (args.dim / kLineFloats) {
    case 1:
      return pool<1>(args);
    case 2:
      return pool<2>(args);
    case 3:
      return pool<3>(args);
    default:
      return pool<4>(args);
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
