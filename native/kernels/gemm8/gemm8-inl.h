// Rows are quantised group by group of rows into a copy, which all panels then read.
#pragma once

#include "kernels/gemm8/tile-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Blocks of rows that share one trip of a panel through the cache.
constexpr int kBlocks8AtOnce = RECSTACK_ISA >= 2 ? 5 : 8;

// Rows [0, rows) of the group, in blocks as even as can be, all panels.
RECSTACK_INLINE void multiply_group8(const Tile8& tile, int64_t rows, int64_t first_group) {
  const Gemm8Args& args = tile.args;
  const int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
  if (blocks == 1) return kBlocks8[rows](tile, args.n, first_group);
  for (int64_t j = 0; j < args.n; j += kPanel) {
    Tile8 part = tile;
    part.b += j / kPanel * tile.panel_bytes;
    part.column += j;
    for (int64_t b = 0, r = 0; b < blocks; ++b) {
      const int64_t end = rows * (b + 1) / blocks;
      part.q = tile.q + r * kRowStride;
      part.step = tile.step + r;
      part.zero = tile.zero + r;
      part.x = tile.x + r * args.x_stride;
      if (args.start != nullptr) part.start_of_row = tile.start_of_row + r;
      part.out = tile.out + r * args.out_stride + j;
      kBlocks8[end - r](part, lesser(kPanel, args.n - j), first_group);
      r = end;
    }
  }
}

void gemm_u8s8(const Gemm8Args& args) {
  alignas(64) Quantised copy[kBlocks8AtOnce * kMaxRows * kRowStride];
  RowScales<kBlocks8AtOnce * kMaxRows> scales;
  const PackedLayer8& layer = *args.layer;
  const int64_t blocks = (args.rows + kMaxRows - 1) / kMaxRows;
  const int64_t groups = (blocks + kBlocks8AtOnce - 1) / kBlocks8AtOnce;
  for (int64_t g = 0, r = 0; args.n > 0 && g < groups; ++g) {
    const int64_t end = args.rows * (g + 1) / groups;
    const float* x = args.x + r * args.x_stride;
    bool shifted = false;
    int64_t t = 0;
    do {
      const int64_t steps = lesser(kPass, layer.k - t);
      // A vector of rows at a time, which L1 still holds when they are quantised.
      for (int64_t b = 0; b < end - r; b += kLanes) {
        const int64_t rows = lesser(kLanes, end - r - b);
        if (t == 0) find_scales(x, args.x_stride, b, rows, layer, args.range, scales);
        for (int64_t m = b; m < b + rows; ++m) {
          shifted = shifted || scales.zero[m] != 0;
          quantise<RECSTACK_ISA == 0>(x + m * args.x_stride + t, steps, scales, m,
                                      copy + m * kRowStride);
        }
      }
      const int64_t bytes = panel_bytes(layer.k);
      const Tile8 tile = {.args = args,
                          .q = copy,
                          .step = scales.step,
                          .zero = scales.zero,
                          .shifted = shifted,
                          .x = x,
                          .start_of_row = args.start == nullptr ? nullptr : args.start_of_row + r,
                          .column = args.first,
                          .b = layer.weights + args.first / kPanel * bytes + t * kPanel,
                          .panel_bytes = bytes,
                          .groups = round_up(steps, kGroup) / kGroup,
                          .out = args.out + r * args.out_stride,
                          .resume = t > 0,
                          .last = t + steps >= layer.k};
      multiply_group8(tile, end - r, t / kGroup);
      t += steps;
    } while (t < layer.k);
    r = end;
  }
}

}  // namespace

extern const Gemm8Kernels gemm8_table;
const Gemm8Kernels gemm8_table = {
    .panel = kPanel,
    .packed_size = packed_size,
    .pack_s8 = pack_s8,
    .row_scale = row_scale,
    .gemm_u8s8 = gemm_u8s8,
};

}  // namespace recstack::RECSTACK_ISA_NS
