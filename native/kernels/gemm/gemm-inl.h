// Packed layout: panels of kPanel columns, each (k, kPanel); what is left of n as one panel of one
// or two vectors, or, up to kNarrow columns, as plain rows of k for multiply_narrow.
#pragma once

#include "kernels/gemm/matmul-inl.h"
#include "kernels/gemm/narrow-inl.h"
#include "kernels/gemm/tile-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Blocks of rows that share one trip of a panel through the cache.
constexpr int kBlocksAtOnce = RECSTACK_ISA >= 2 ? 5 : 8;

int64_t wide_columns(int64_t n) { return n % kPanel <= kNarrow ? n - n % kPanel : n; }

size_t packed_size(int64_t n, int64_t k) {
  const int64_t left = n % kPanel;
  const int64_t width = left <= kNarrow ? left : left <= kLanes ? kLanes : kPanel;
  return static_cast<size_t>((n - left + width) * k);
}

void pack_f32(const float* w, int64_t n, int64_t k, int64_t w_stride, float* packed) {
  int64_t j = 0;
  for (; j + kPanel <= n; j += kPanel) {
    transpose_panel<kPanel>(w + j * w_stride, w_stride, kPanel, k, packed + j * k);
  }
  const int64_t left = n - j;
  if (left == 0) return;
  w += j * w_stride;
  packed += j * k;
  if (left <= kNarrow) {
    for (int64_t i = 0; i < left * k; ++i) packed[i] = w[(i / k) * w_stride + i % k];
  } else if (left <= kLanes) {
    transpose_panel<kLanes>(w, w_stride, left, k, packed);
  } else {
    transpose_panel<kPanel>(w, w_stride, left, k, packed);
  }
}

RECSTACK_INLINE void copy_rows(const float* x, int64_t x_stride, int64_t rows, int64_t k,
                               float* copy) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + r * x_stride;
    float* to = copy + r * kCopyStride;
    int64_t i = 0;
    for (; i + kLanes <= k; i += kLanes) store(to + i, load(from + i));
    if (i < k) store_n(to + i, load_n(from + i, k - i), k - i);
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
RECSTACK_INLINE void multiply_group(Tile tile, int64_t rows, int64_t columns) {
  const int64_t blocks = (rows + kMaxRows - 1) / kMaxRows;
  if (blocks == 1) return kBlocks[rows](tile, columns);
  for (int64_t j = 0; j < columns; j += kPanel) {
    Tile part = tile;
    part.b += (j / kPanel) * tile.panel_stride;
    if (part.bias != nullptr) part.bias += j;
    for (int64_t b = 0, r = 0; b < blocks; ++b) {
      const int64_t end = rows * (b + 1) / blocks;
      part.a = tile.a + r * kCopyStride;
      part.out = tile.out + r * tile.out_stride + j;
      kBlocks[end - r](part, lesser(kPanel, columns - j));
      r = end;
    }
  }
}

// Takes up to 148 KB of stack.
void gemm_f32(const GemmArgs& args) {
  alignas(64) float copy[kBlocksAtOnce * kMaxRows * kCopyStride];
  const int64_t columns = wide_columns(args.n);
  const int64_t blocks = (args.rows + kMaxRows - 1) / kMaxRows;
  const int64_t groups = (blocks + kBlocksAtOnce - 1) / kBlocksAtOnce;
  for (int64_t g = 0, r = 0; columns > 0 && g < groups; ++g) {
    const int64_t end = args.rows * (g + 1) / groups;
    if (args.start != nullptr) copy_starts(args, r, end, columns);
    int64_t t = 0;
    do {
      const int64_t steps = lesser(kDepth, args.k - t);
      copy_rows(args.x + r * args.x_stride + t, args.x_stride, end - r, steps, copy);
      const Tile tile = {.a = copy,
                         .b = args.packed,
                         .panel_stride = args.k * kPanel,
                         .first_step = t,
                         .steps = steps,
                         .out = args.out + r * args.out_stride,
                         .out_stride = args.out_stride,
                         .bias = args.bias,
                         .activation = args.activation,
                         .resume = t > 0 || args.start != nullptr,
                         .last = t + steps >= args.k};
      multiply_group(tile, end - r, columns);
      t += steps;
    } while (t < args.k);
    r = end;
  }
  if (columns < args.n) multiply_narrow(args, columns);
}

}  // namespace

extern const GemmKernels gemm_table;
const GemmKernels gemm_table = {
    .panel = kPanel,
    .packed_size = packed_size,
    .pack_f32 = pack_f32,
    .gemm_f32 = gemm_f32,
    .matmul_f32 = matmul_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
