#pragma once

#include "kernels/embag/bags-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE RowShape shape_of(const BagsArgs& args) {
  const int64_t wide = (args.dim - 1) / kMaxBlock * kMaxBlock;
  return {.wide = wide,
          .vectors = (args.dim - wide + kLanes - 1) / kLanes,
          .last = (args.dim - 1) % kLanes + 1,
          .row_bytes = 0,
          .ends_apart = true,
          .hint = args.prefetch.hint};
}

template <int kVectors, bool kTail, int kHint>
BadLookup all_tables(const BagsArgs& args, const RowShape& shape) {
  if (args.count == 0) return {};
  Walk walk(args);
  const int64_t first = lesser(args.prefetch.distance, walk.filled());
  RowShape widest = shape;
  widest.row_bytes = row_bytes(args.tables[0].format, args.dim);
  for (int64_t l = 0; l < first; ++l) prefetch_row<kHint>(walk.window()[l], widest);
  for (int64_t t = 0; t < args.count && walk.bad().table < 0; ++t) {
    table_bags<kVectors, kTail, kHint>(args, args.tables[t], shape, walk);
  }
  return walk.bad();
}

template <int kVectors, int kHint>
BadLookup of_tail(const BagsArgs& args, const RowShape& shape) {
  return shape.last == kLanes ? all_tables<kVectors, false, kHint>(args, shape)
                              : all_tables<kVectors, true, kHint>(args, shape);
}

template <int kHint>
BadLookup of_hint(const BagsArgs& args) {
  const RowShape shape = shape_of(args);
  switch (shape.vectors) {
    case 1:
      return of_tail<1, kHint>(args, shape);
    case 2:
      return of_tail<2, kHint>(args, shape);
    case 3:
      return of_tail<3, kHint>(args, shape);
#if RECSTACK_ISA >= 2
    default:
      return of_tail<4, kHint>(args, shape);
#else
    case 4:
      return of_tail<4, kHint>(args, shape);
    case 5:
      return of_tail<5, kHint>(args, shape);
    case 6:
      return of_tail<6, kHint>(args, shape);
    case 7:
      return of_tail<7, kHint>(args, shape);
    default:
      return of_tail<8, kHint>(args, shape);
#endif
  }
}

BadLookup bags(const BagsArgs& args) {
  BagsArgs at_once = args;
  switch (args.prefetch.hint) {
    case PrefetchHint::t0:
      return of_hint<kT0>(args);
    case PrefetchHint::t1:
      return of_hint<kT1>(args);
    case PrefetchHint::nta:
      return of_hint<kNta>(args);
    case PrefetchHint::none:
      at_once.prefetch.distance = 0;
      return of_hint<kT0>(at_once);
  }
  return {};
}

}  // namespace

extern const EmbagKernels embag_table;
const EmbagKernels embag_table = {
    .bags = bags,
};

}  // namespace recstack::RECSTACK_ISA_NS
