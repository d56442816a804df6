// The Gram matrix of each row's vectors as a small GEMM: the vectors, transposed, are the panel, so
// a lane is a partner feature and every pair is one chain over dim. No horizontal sums.
#pragma once

#include "kernels/gemm/micro-inl.h"
#include "kernels/interact/interact.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

constexpr int64_t kDotDepth = 128;
constexpr int kDotRows = kMaxRows < 8 ? kMaxRows : 8;

struct DotTile {
  const float* x;  // feature `row` of this batch row, at this pass's first dim
  int64_t dim;
  const float* panel;  // (steps, kPanel)
  int64_t steps;
  bool resume;
  int64_t row;     // first feature of the block
  int64_t column;  // first feature of the panel
  int64_t features;
  PairOrder order;
  int64_t self;
  float* out;  // the pairs of this batch row
};

// The columns [begin, end) that belong to feature i, and where in `out` they stand.
struct Segment {
  int64_t begin, end, offset;
};
RECSTACK_INLINE Segment segment(const DotTile& tile, int64_t i) {
  const int64_t f = tile.features, self = tile.self;
  if (tile.order == PairOrder::lower) return {0, i + self, i * (i - 1) / 2 + i * self};
  return {i + 1 - self, f, i * (f - 1 + self) - i * (i - 1) / 2};
}

template <int kRows, int kVectors>
void dot_block(const DotTile& tile, int64_t first_vector) {
  const int64_t base = tile.column + first_vector * kLanes;
  float lane[kRows][kVectors * kLanes];
  V acc[kRows][kVectors];
  // A segment clipped to this block's columns, as positions in `lane` and in `out`.
  const auto clip = [&](int m) {
    const Segment s = segment(tile, tile.row + m);
    const int64_t begin = greater(s.begin, base);
    const int64_t end = lesser(s.end, base + kVectors * kLanes);
    return Segment{begin - base, end - base, s.offset + begin - s.begin};
  };
  if (tile.resume) {
    for (int m = 0; m < kRows; ++m) {
      const Segment s = clip(m);
      for (int64_t j = s.begin; j < s.end; ++j) lane[m][j] = tile.out[s.offset + j - s.begin];
    }
  }
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) {
      acc[m][c] = tile.resume ? load(lane[m] + c * kLanes) : zero();
    }
  }
  accumulate<kRows, kVectors, 1, Fp32, kPanel>(tile.x, tile.dim, tile.panel + first_vector * kLanes,
                                               0, tile.steps, acc);
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kVectors; ++c) store(lane[m] + c * kLanes, acc[m][c]);
  }
  for (int m = 0; m < kRows; ++m) {
    const Segment s = clip(m);
    float* out = tile.out + s.offset;
    for (int64_t j = s.begin; j < s.end; j += kLanes) {
      const int64_t lanes = lesser(kLanes, s.end - j);
      store_n(out + j - s.begin, load_n(lane[m] + j, lanes), lanes);
    }
  }
}

using DotBlock = void (*)(const DotTile&, int64_t);
#define RECSTACK_DOT_BLOCK(rows) {dot_block<rows, 1>, dot_block<rows, 2>}
constexpr DotBlock kDotBlocks[][kPanelVectors] = {
    RECSTACK_DOT_BLOCK(1), RECSTACK_DOT_BLOCK(2), RECSTACK_DOT_BLOCK(3), RECSTACK_DOT_BLOCK(4),
#if RECSTACK_ISA >= 1
    RECSTACK_DOT_BLOCK(5), RECSTACK_DOT_BLOCK(6),
#endif
#if RECSTACK_ISA >= 2
    RECSTACK_DOT_BLOCK(7), RECSTACK_DOT_BLOCK(8),
#endif
};
#undef RECSTACK_DOT_BLOCK

// All features that pair with a column of this panel, in blocks; vectors no pair needs are skipped.
RECSTACK_INLINE void dot_panel(DotTile tile, const float* x, int64_t columns) {
  const bool lower = tile.order == PairOrder::lower;
  const int64_t begin = lower ? tile.column + 1 - tile.self : 0;
  const int64_t end = lower ? tile.features : tile.column + columns - 1 + tile.self;
  for (int64_t i = begin; i < end;) {
    const int64_t blocks = (end - i + kDotRows - 1) / kDotRows;
    const int64_t rows = (end - i + blocks - 1) / blocks;
    int64_t from = 0, to = columns;
    if (lower) {
      to = lesser(to, i + rows - 1 + tile.self - tile.column);
    } else {
      from = greater(from, i + 1 - tile.self - tile.column);
    }
    const int64_t first_vector = from / kLanes;
    const int64_t vectors = (to + kLanes - 1) / kLanes - first_vector;
    tile.row = i;
    tile.x = x + i * tile.dim;
    kDotBlocks[rows - 1][vectors - 1](tile, first_vector);
    i += rows;
  }
}

void dot_f32(const DotArgs& args) {
  alignas(64) float panel[kDotDepth * kPanel];
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* x = args.x + r * args.x_stride;
    for (int64_t j = 0; j < args.features; j += kPanel) {
      const int64_t columns = lesser(kPanel, args.features - j);
      int64_t t = 0;
      do {
        const int64_t steps = lesser(kDotDepth, args.dim - t);
        transpose_panel<kPanel>(x + j * args.dim + t, args.dim, columns, steps, panel);
        const DotTile tile = {.x = nullptr,
                              .dim = args.dim,
                              .panel = panel,
                              .steps = steps,
                              .resume = t > 0,
                              .row = 0,
                              .column = j,
                              .features = args.features,
                              .order = args.order,
                              .self = args.self_pairs ? 1 : 0,
                              .out = args.out + r * args.out_stride};
        dot_panel(tile, x + t, columns);
        t += steps;
      } while (t < args.dim);
    }
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
