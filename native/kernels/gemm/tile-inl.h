// One block of rows times a run of panels, with resumed chains and the epilogue.
#pragma once

#include "kernels/gemm/activate-inl.h"
#include "kernels/gemm/gemm.h"
#include "kernels/gemm/micro-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Fewer rows than any block of several has: the weights' stream is what bounds them.
constexpr int64_t kFewRows = kMaxRows / 2 - 1;
// Elements of x per pass, as load_x makes them; partial sums rest in `out` between passes and the
// same chain resumes. Chains that go on from another product's are first copied there. With few
// rows a pass is long, as the weights' stream starts anew with each.
constexpr int64_t depth_of(int64_t rows) { return rows <= kFewRows ? 4096 : 512; }
// Rows of x are copied here first. The constant stride gives the inner loop constant displacements,
// and keeps rows a power of two apart from fighting over one cache set.
constexpr int64_t copy_stride(int64_t rows) { return depth_of(rows) + 16; }

constexpr int64_t kPrefetchSteps = 128;

template <class W>
struct Tile {
  const float* a;             // rows copy_stride of all of them apart
  const typename W::Word* b;  // first panel
  int64_t panel_stride;       // words from panel to panel
  int64_t first_step;         // this pass: steps [first_step, first_step + steps)
  int64_t steps;
  float* out;
  int64_t out_stride;
  const float* bias;  // of the first column, or null
  Activation activation;
  bool resume;  // the chains go on from what lies in `out`
  bool last;    // the chains end in this pass
};

template <int kRows, class W>
RECSTACK_INLINE void activate_block(const Tile<W>& tile, int64_t columns) {
  for (int m = 0; m < kRows; ++m) {
    float* out = tile.out + m * tile.out_stride;
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t lanes = lesser(kLanes, columns - j);
      store_n(out + j, activate(tile.activation, load_n(out + j, lanes)), lanes);
    }
  }
}

template <int kRows, int kVectors, int kPanels, bool kFull, class W>
RECSTACK_INLINE void multiply(const Tile<W>& tile, int64_t columns) {
  constexpr int kColumns = kVectors * kPanels;
  const auto lanes = [=](int c) { return lesser(kLanes, columns - c * kLanes); };
  V acc[kRows][kColumns];
  // Long chains leave time to fetch the lines that the results will need.
  if (tile.steps >= kPrefetchSteps) {
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns * kLanes; c += 16) {
        __builtin_prefetch(tile.out + m * tile.out_stride + c, 1, 3);
      }
    }
  }
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const float* out = tile.out + m * tile.out_stride + c * kLanes;
      acc[m][c] = !tile.resume ? zero() : kFull ? load(out) : load_n(out, lanes(c));
    }
  }
  accumulate<kRows, kVectors, kPanels, W>(tile.a, copy_stride(kRows),
                                          tile.b + tile.first_step * kVectors * kLanes,
                                          tile.panel_stride, tile.steps, acc);
  if (tile.last && tile.bias != nullptr) {
    RECSTACK_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      const float* p = tile.bias + c * kLanes;
      const V bias = kFull ? load(p) : load_n(p, lanes(c));
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) acc[m][c] = add(acc[m][c], bias);
    }
  }
  if (tile.last && tile.activation == Activation::relu) {
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns; ++c) acc[m][c] = relu(acc[m][c]);
    }
  }
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      float* out = tile.out + m * tile.out_stride + c * kLanes;
      if constexpr (kFull) {
        store(out, acc[m][c]);
      } else {
        store_n(out, acc[m][c], lanes(c));
      }
    }
  }
  if (tile.last && tile.activation > Activation::relu) {
    activate_block<kRows>(tile, kFull ? kColumns * kLanes : columns);
  }
}

// Full panels: kPanels at once, what is left with fewer.
template <int kRows, int kPanels, class W>
RECSTACK_INLINE void multiply_panels(Tile<W> tile, int64_t panels) {
  for (; panels >= kPanels; panels -= kPanels) {
    multiply<kRows, kPanelVectors, kPanels, true>(tile, 0);
    tile.b += kPanels * tile.panel_stride;
    tile.out += kPanels * kPanel;
    if (tile.bias != nullptr) tile.bias += kPanels * kPanel;
  }
  if constexpr (kPanels > 1) multiply_panels<kRows, kPanels / 2>(tile, panels);
}

// columns > 0: full panels, then perhaps one that ends early, of one vector or two.
template <class W, int kRows>
void block(const Tile<W>& first, int64_t columns) {
  const int64_t panels = columns / kPanel;
  multiply_panels<kRows, panels_at_once(kRows)>(first, panels);
  const int64_t left = columns - panels * kPanel;
  if (left == 0) return;
  Tile<W> tile = first;
  tile.b += panels * tile.panel_stride;
  tile.out += panels * kPanel;
  if (tile.bias != nullptr) tile.bias += panels * kPanel;
  if (left <= kLanes) {
    multiply<kRows, 1, 1, false>(tile, left);
  } else {
    multiply<kRows, kPanelVectors, 1, false>(tile, left);
  }
}

template <class W>
using Block = void (*)(const Tile<W>&, int64_t);
template <class W>
constexpr Block<W> kBlocks[] = {
    nullptr,      block<W, 1>,  block<W, 2>,  block<W, 3>,  block<W, 4>,
#if RECSTACK_ISA >= 1
    block<W, 5>,  block<W, 6>,
#endif
#if RECSTACK_ISA >= 2
    block<W, 7>,  block<W, 8>,  block<W, 9>,  block<W, 10>, block<W, 11>,
    block<W, 12>, block<W, 13>, block<W, 14>,
#endif
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
