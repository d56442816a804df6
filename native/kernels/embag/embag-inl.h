#pragma once

#include "kernels/embag/bags-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE RowShape shape_of(const BagsArgs& args) {
  const int64_t wide = (args.dim - 1) / kMaxBlock * kMaxBlock;
  return {.wide = wide,
          .vectors = (args.dim - wide + kLanes - 1) / kLanes,
          .last = (args.dim - 1) % kLanes + 1};
}

template <int kVectors, bool kTail>
BadLookup all_tables(const BagsArgs& args, const RowShape& shape) {
  Walk walk(args);
  for (int64_t t = 0; t < args.count && walk.bad().table < 0; ++t) {
    table_bags<kVectors, kTail>(args, args.tables[t], shape, walk);
  }
  return walk.bad();
}

template <int kVectors>
BadLookup of_tail(const BagsArgs& args, const RowShape& shape) {
  return shape.last == kLanes ? all_tables<kVectors, false>(args, shape)
                              : all_tables<kVectors, true>(args, shape);
}

BadLookup bags(const BagsArgs& args) {
  const RowShape shape = shape_of(args);
  switch (shape.vectors) {
    case 1:
      return of_tail<1>(args, shape);
    case 2:
      return of_tail<2>(args, shape);
    case 3:
      return of_tail<3>(args, shape);
#if RECSTACK_ISA >= 2
    default:
      return of_tail<4>(args, shape);
#else
    case 4:
      return of_tail<4>(args, shape);
    case 5:
      return of_tail<5>(args, shape);
    case 6:
      return of_tail<6>(args, shape);
    case 7:
      return of_tail<7>(args, shape);
    default:
      return of_tail<8>(args, shape);
#endif
  }
}

}  // namespace

extern const EmbagKernels embag_table;
const EmbagKernels embag_table = {
    .bags = bags,
};

}  // namespace recstack::RECSTACK_ISA_NS
