// One block of quantised rows times a run of panels, with the requantising epilogue.
#pragma once

#include "kernels/gemm/activate-inl.h"
#include "kernels/gemm/micro-inl.h"
#include "kernels/gemm8/pack-inl.h"
#include "kernels/gemm8/rows-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// The columns [j, ...) of a block of rows, in one pass over k. Pointers are to row 0 and column j.
struct Tile8 {
  const Gemm8Args& args;
  const Quantised* q;   // rows kRowStride apart
  const float* step;    // of each row
  const int32_t* zero;  // of each row
  bool shifted;         // whether any of them is not 0
  const float* x;       // read for outliers
  const int32_t* start_of_row;
  int64_t column;       // j, from the first of args.layer
  const int8_t* b;      // this pass's groups of the first panel
  int64_t panel_bytes;  // from panel to panel
  int64_t groups;
  float* out;
  bool resume;  // sums go on from the bits that lie in `out`, not from what zero points take
  bool last;    // sums end in this pass
};

// acc[m][c] += q[m] . w[c] over all groups.
template <int kRows, int kVectors, int kPanels>
RECSTACK_INLINE void accumulate8(const Tile8& tile, I (&acc)[kRows][kVectors * kPanels]) {
  constexpr int kColumns = kVectors * kPanels;
  constexpr int64_t kBytes = kVectors * kLanes * kGroup;
  const Quantised* q = tile.q;
  const int8_t* b = tile.b;
  const auto weights = [&](int c) {
    return load_weights(b + (c / kVectors) * tile.panel_bytes + (c % kVectors) * kLanes * kGroup);
  };
  for (int64_t g = 0; g < tile.groups; ++g) {
    if constexpr (RECSTACK_ISA > 0 && kRows >= kMaxRows / 2) {
      RECSTACK_UNROLL
      for (int p = 0; p < kPanels; ++p) {
        RECSTACK_UNROLL
        for (int64_t line = 0; line < kBytes; line += 64) {
          __builtin_prefetch(b + p * tile.panel_bytes + kStepsAhead * kBytes + line, 0, 3);
        }
      }
    }
    if constexpr (kRows < kColumns) {
      I a[kRows];
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) a[m] = spread_group(q + m * kRowStride);
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        const I w = weights(c);
        RECSTACK_UNROLL
        for (int m = 0; m < kRows; ++m) acc[m][c] = dot(acc[m][c], a[m], w);
      }
    } else {
      I w[kColumns];
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns; ++c) w[c] = weights(c);
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) {
        const I a = spread_group(q + m * kRowStride);
        RECSTACK_UNROLL
        for (int c = 0; c < kColumns; ++c) acc[m][c] = dot(acc[m][c], a, w[c]);
      }
    }
    q += kGroup;
    b += kBytes;
  }
}

// From products to results where more than a bias and a relu is wanted.
template <int kRows>
RECSTACK_INLINE void finish_rows(const Tile8& tile, int64_t columns) {
  const Gemm8Args& args = tile.args;
  const PackedLayer8& layer = *args.layer;
  const int64_t at = tile.column - args.first;
  for (int m = 0; m < kRows; ++m) {
    float* out = tile.out + m * args.out_stride;
    const float* start = args.start == nullptr
                             ? nullptr
                             : args.start + tile.start_of_row[m] * args.start_stride + at;
    for (int64_t j = 0; j < columns; j += kLanes) {
      const int64_t lanes = lesser(kLanes, columns - j);
      V y = load_n(out + j, lanes);
      if (start != nullptr) y = add(load_n(start + j, lanes), y);
      for (int64_t o = 0; o < layer.outlier_count; ++o) {
        const float* w = layer.side + o * round_up(layer.n, kPanel) + tile.column + j;
        y = add(y, mul(set1(tile.x[m * args.x_stride + layer.outliers[o]]), load(w)));
      }
      if (args.bias != nullptr) y = add(y, load_n(args.bias + at + j, lanes));
      store_n(out + j, activate(args.activation, y), lanes);
    }
  }
}

template <int kRows, int kVectors, int kPanels, bool kFull>
RECSTACK_INLINE void multiply8(const Tile8& tile, int64_t columns) {
  constexpr int kColumns = kVectors * kPanels;
  const Gemm8Args& args = tile.args;
  const auto lanes = [=](int c) { return lesser(kLanes, columns - c * kLanes); };
  const auto put = [&](int m, int c, V y) {
    float* out = tile.out + m * args.out_stride + c * kLanes;
    if constexpr (kFull) {
      store(out, y);
    } else {
      store_n(out, y, lanes(c));
    }
  };
  I acc[kRows][kColumns];
  RECSTACK_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const I sum = load_ints(args.layer->sum + tile.column + c * kLanes);
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      const float* out = tile.out + m * args.out_stride + c * kLanes;
      acc[m][c] = tile.resume    ? bits(kFull ? load(out) : load_n(out, lanes(c)))
                  : tile.shifted ? mul_low(set1_int(-tile.zero[m]), sum)
                                 : set1_int(0);
    }
  }
  accumulate8<kRows, kVectors, kPanels>(tile, acc);
  if (!tile.last) {
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns; ++c) put(m, c, bits(acc[m][c]));
    }
    return;
  }
  const bool more =
      args.start != nullptr || args.layer->outlier_count > 0 || args.activation > Activation::relu;
  const float* bias = more ? nullptr : args.bias;
  // What changes no value, where there is no bias or no relu.
  const V least = args.activation == Activation::relu && !more ? zero() : set1(-__builtin_inff());
  RECSTACK_UNROLL
  for (int c = 0; c < kColumns; ++c) {
    const V scale = load(args.layer->scale + tile.column + c * kLanes);
    V add_on = set1(-0.0f);
    if (bias != nullptr) {
      const float* at = bias + tile.column - args.first + c * kLanes;
      add_on = kFull ? load(at) : load_n(at, lanes(c));
    }
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      const V y = mul(to_float(acc[m][c]), mul(set1(tile.step[m]), scale));
      put(m, c, max(least, add(y, add_on)));
    }
  }
  if (more) finish_rows<kRows>(tile, kFull ? kColumns * kLanes : columns);
}

// Full panels: kPanels at once, what is left with fewer.
template <int kRows, int kPanels>
RECSTACK_INLINE void multiply8_panels(Tile8 tile, int64_t panels) {
  for (; panels >= kPanels; panels -= kPanels) {
    multiply8<kRows, kPanelVectors, kPanels, true>(tile, 0);
    tile.b += kPanels * tile.panel_bytes;
    tile.out += kPanels * kPanel;
    tile.column += kPanels * kPanel;
  }
  if constexpr (kPanels > 1) multiply8_panels<kRows, kPanels / 2>(tile, panels);
}

// columns > 0: full panels, then perhaps one that ends early, of one vector or two. `b` of the
// first is at this pass's groups; a panel of one vector has them nearer its begin.
template <int kRows>
void block8(const Tile8& first, int64_t columns, int64_t first_group) {
  const int64_t panels = columns / kPanel;
  multiply8_panels<kRows, panels_at_once(kRows)>(first, panels);
  const int64_t left = columns - panels * kPanel;
  if (left == 0) return;
  Tile8 tile = first;
  tile.b += panels * tile.panel_bytes;
  tile.out += panels * kPanel;
  tile.column += panels * kPanel;
  if (left <= kLanes) {
    tile.b -= first_group * (kPanel - kLanes) * kGroup;
    multiply8<kRows, 1, 1, false>(tile, left);
  } else {
    multiply8<kRows, kPanelVectors, 1, false>(tile, left);
  }
}

using Block8 = void (*)(const Tile8&, int64_t, int64_t);
constexpr Block8 kBlocks8[] = {
    nullptr,   block8<1>, block8<2>, block8<3>,  block8<4>,
#if RECSTACK_ISA >= 1
    block8<5>, block8<6>,
#endif
#if RECSTACK_ISA >= 2
    block8<7>, block8<8>, block8<9>, block8<10>, block8<11>, block8<12>, block8<13>, block8<14>,
#endif
};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
