// A dense layer with weights of format W (weights-inl.h). Packed layout: panels of kPanel columns,
// each (steps, kPanel) words; what is left of n as one panel of one or two vectors, or, up to
// kNarrow columns, as plain rows of words for multiply_narrow.
#pragma once

#include "kernels/gemm/narrow-inl.h"
#include "kernels/gemm/tile-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Blocks of rows that share one trip of a panel through the cache.
constexpr int kBlocksAtOnce = RECSTACK_ISA >= 2 ? 5 : 8;

int64_t wide_columns(int64_t n) { return n % kPanel <= kNarrow ? n - n % kPanel : n; }

template <class W>
size_t packed_bytes(int64_t n, int64_t k) {
  const int64_t left = n % kPanel;
  const int64_t width = left <= kNarrow ? left : left <= kLanes ? kLanes : kPanel;
  return static_cast<size_t>((n - left + width) * steps_of<W>(k)) * sizeof(typename W::Word);
}

template <class W>
void pack(const float* w, int64_t n, int64_t k, int64_t w_stride, void* packed) {
  auto* to = static_cast<typename W::Word*>(packed);
  const int64_t steps = steps_of<W>(k);
  int64_t j = 0;
  for (; j + kPanel <= n; j += kPanel) {
    pack_panel<W, kPanel>(w + j * w_stride, w_stride, kPanel, k, to + j * steps);
  }
  const int64_t left = n - j;
  if (left == 0) return;
  w += j * w_stride;
  to += j * steps;
  if (left <= kNarrow) {
    for (int64_t i = 0; i < left * steps; ++i) {
      const int64_t at = i % steps * W::kValues;
      to[i] = W::word(w + (i / steps) * w_stride + at, k - at);
    }
  } else if (left <= kLanes) {
    pack_panel<W, kLanes>(w, w_stride, left, k, to);
  } else {
    pack_panel<W, kPanel>(w, w_stride, left, k, to);
  }
}

template <class W>
RECSTACK_INLINE void copy_rows(const float* x, int64_t x_stride, int64_t rows, int64_t values,
                               float* copy) {
  for (int64_t r = 0; r < rows; ++r) {
    copy_elements<W>(x + r * x_stride, values, copy + r * copy_stride(rows));
  }
}

// Rows [r, end) of `out` become what their chains go on from.
void copy_starts(const GemmArgs& args, int64_t r, int64_t end, int64_t columns) {
  for (; r < end; ++r) {
    const float* from = args.start + args.start_of_row[r] * args.start_stride;
    float* to = args.out + r * args.out_stride;
    int64_t j = 0;
    for (; j + kLanes <= columns; j += kLanes) store(to + j, load(from + j));
    if (j < columns) store_n(to + j, load_n(from + j, columns - j), columns - j);
  }
}

// Rows [0, rows) of the group, in blocks as even as can be, all panels.
template <class W>
RECSTACK_INLINE void multiply_group(Tile<W> tile, int64_t rows, int64_t columns) {
  const int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
  if (blocks == 1) return kBlocks<W>[rows](tile, columns);
  for (int64_t j = 0; j < columns; j += kPanel) {
    Tile<W> part = tile;
    part.b += (j / kPanel) * tile.panel_stride;
    if (part.bias != nullptr) part.bias += j;
    for (int64_t b = 0, r = 0; b < blocks; ++b) {
      const int64_t end = rows * (b + 1) / blocks;
      part.a = tile.a + r * copy_stride(rows);
      part.out = tile.out + r * tile.out_stride + j;
      kBlocks<W>[end - r](part, lesser(kPanel, columns - j));
      r = end;
    }
  }
}

// Takes up to 148 KB of stack.
template <class W>
void gemm(const GemmArgs& args) {
  alignas(64) float copy[kBlocksAtOnce * kMaxRows * copy_stride(kMaxRows)];
  static_assert(kFewRows * copy_stride(kFewRows) <= sizeof copy / sizeof copy[0]);
  const int64_t columns = wide_columns(args.n);
  const int64_t blocks = (args.rows + kMaxRows - 1) / kMaxRows;
  const int64_t all = steps_of<W>(args.k);
  const int64_t groups = (blocks + kBlocksAtOnce - 1) / kBlocksAtOnce;
  for (int64_t g = 0, r = 0; columns > 0 && g < groups; ++g) {
    const int64_t end = args.rows * (g + 1) / groups;
    const bool in_place = args.rows == 1 && !W::kRoundsX;
    const int64_t depth = in_place ? all : depth_of(end - r) / W::kParts;
    if (args.start != nullptr) copy_starts(args, r, end, columns);
    int64_t t = 0;
    do {
      const int64_t steps = lesser(depth, all - t), at = t * W::kValues;
      const int64_t values = lesser(steps * W::kValues, args.k - at);
      const float* x = args.x + r * args.x_stride + at;
      if (!in_place) copy_rows<W>(x, args.x_stride, end - r, values, copy);
      const Tile<W> tile = {.a = in_place ? x : copy,
                            .b = static_cast<const typename W::Word*>(args.packed),
                            .panel_stride = all * kPanel,
                            .first_step = t,
                            .steps = steps,
                            .out = args.out + r * args.out_stride,
                            .out_stride = args.out_stride,
                            .bias = args.bias,
                            .activation = args.activation,
                            .resume = t > 0 || args.start != nullptr,
                            .last = t + steps >= all};
      multiply_group(tile, end - r, columns);
      t += steps;
    } while (t < all);
    r = end;
  }
  if (columns < args.n) multiply_narrow<W>(args, columns);
}

template <class W>
constexpr LayerKernels kLayerKernels = {
    .panel = kPanel, .packed_bytes = packed_bytes<W>, .pack = pack<W>, .gemm = gemm<W>};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
