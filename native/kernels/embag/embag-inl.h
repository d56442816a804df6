#pragma once

#include "kernels/embag/bags-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE RowShape shape_of(const BagsArgs& args) {
  const int64_t wide = (args.dim - 1) / kMaxBlock * kMaxBlock;
  bool aligned = args.dim % 16 == 0;
  for (int64_t t = 0; t < args.count; ++t) {
    aligned &= reinterpret_cast<uintptr_t>(args.tables[t].table) % 64 == 0;
  }
  return {.wide = wide,
          .vectors = (args.dim - wide + kLanes - 1) / kLanes,
          .last = (args.dim - 1) % kLanes + 1,
          .row_bytes = args.dim * 4,
          .aligned = aligned};
}

template <int kVectors, bool kTail, int kHint>
BadLookup all_tables(const BagsArgs& args, const RowShape& shape) {
  Walk walk(args);
  const int64_t first = lesser(args.prefetch.distance, walk.filled());
  for (int64_t l = 0; l < first; ++l) {
    prefetch_row<kHint>(walk.window()[l], shape.row_bytes, shape.aligned);
  }
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

BadLookup bags_f32(const BagsArgs& args) {
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
    .bags_f32 = bags_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
