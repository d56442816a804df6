// The plain RNN of rnn.h: a block of rows times all columns, position after position.
#pragma once

#include "kernels/act/math-inl.h"
#include "kernels/gemm/micro-inl.h"
#include "kernels/seq/rnn.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Rows at once: with two panels where the registers hold them, as a row's state is then broadcast
// half as often.
constexpr int kRnnRows = RECSTACK_ISA >= 2 ? 7 : kMaxRows;

// A power of two, so that what is left can be halved: widths mostly are one too.
constexpr int rnn_panels_at_once(int rows) {
  const int fit = panels_at_once(rows);
  return fit == 3 ? 2 : fit;
}

int64_t rnn_packed_size(int64_t hidden, int64_t k) {
  return (hidden + kPanel - 1) / kPanel * kPanel * k;
}

// Per kPanel outputs a panel (k, kPanel), zeros past the last output.
void pack_rnn_f32(const float* weight, int64_t hidden, int64_t k, float* packed) {
  for (int64_t j = 0; j < hidden; j += kPanel) {
    transpose_panel<kPanel>(weight + j * k, k, lesser(kPanel, hidden - j), k, packed + j * k);
  }
}

// Rows [r, r + kRows) at one position.
struct RnnStep {
  const RnnArgs& args;
  const float* x;
  const float* old;  // null: 0
  int64_t old_stride;
  float* fresh;
  int64_t fresh_stride;
};

RECSTACK_INLINE RnnStep rnn_step(const RnnArgs& args, int64_t r, int64_t t) {
  const bool last = t + 1 == args.positions;
  const int64_t stride = args.sequence || last ? args.out_stride : args.state_stride;
  const auto after = [&](int64_t at) -> float* {
    if (args.sequence) return args.out + r * args.out_stride + at * args.hidden;
    if (at + 1 == args.positions) return args.out + r * args.out_stride;
    return args.state + r * args.state_stride + at % 2 * args.hidden;
  };
  RnnStep step = {.args = args,
                  .x = args.x + r * args.x_stride + t * args.dim,
                  .old = nullptr,
                  .old_stride = args.sequence ? args.out_stride : args.state_stride,
                  .fresh = after(t),
                  .fresh_stride = stride};
  if (t > 0) {
    step.old = after(t - 1);
  } else if (args.start != nullptr) {
    step.old = args.start + r * args.start_stride;
    step.old_stride = args.start_stride;
  }
  return step;
}

// Hidden units [j, j + kPanels * kPanel), as far as there are any.
template <int kRows, int kPanels>
RECSTACK_INLINE void rnn_columns(const RnnStep& step, int64_t j) {
  constexpr int kColumns = kPanelVectors * kPanels;
  const RnnArgs& args = step.args;
  const int64_t panel_stride = (args.dim + args.hidden) * kPanel;
  const float* w = args.packed + j / kPanel * panel_stride;
  V acc[kRows][kColumns];
  RECSTACK_UNROLL
  for (int i = 0; i < kRows * kColumns; ++i) acc[i / kColumns][i % kColumns] = zero();
  accumulate<kRows, kPanelVectors, kPanels>(step.x, args.x_stride, w, panel_stride, args.dim, acc);
  if (step.old != nullptr) {
    accumulate<kRows, kPanelVectors, kPanels>(step.old, step.old_stride, w + args.dim * kPanel,
                                              panel_stride, args.hidden, acc);
  }
  alignas(64) float sums[kRows][kColumns * kLanes];
  RECSTACK_UNROLL
  for (int i = 0; i < kRows * kColumns; ++i) {
    store(sums[i / kColumns] + i % kColumns * kLanes, acc[i / kColumns][i % kColumns]);
  }
  const int64_t columns = lesser(kColumns * kLanes, args.hidden - j);
  for (int m = 0; m < kRows; ++m) {
    float* out = step.fresh + m * step.fresh_stride + j;
    for (int64_t c = 0; c < columns; c += kLanes) {
      const int64_t lanes = lesser(kLanes, columns - c);
      V y = load(sums[m] + c);
      if (args.bias != nullptr) y = add(y, load_n(args.bias + j + c, lanes));
      store_n(out + c, tanh(y), lanes);
    }
  }
}

// Hidden units from j on: kPanels panels at once, what is left with fewer.
template <int kRows, int kPanels>
RECSTACK_INLINE void rnn_panels(const RnnStep& step, int64_t j) {
  for (; step.args.hidden - j > (kPanels - 1) * kPanel; j += kPanels * kPanel) {
    rnn_columns<kRows, kPanels>(step, j);
  }
  if constexpr (kPanels > 1) rnn_panels<kRows, kPanels / 2>(step, j);
}

template <int kRows>
void rnn_block(const RnnArgs& args, int64_t r) {
  for (int64_t t = 0; t < args.positions; ++t) {
    rnn_panels<kRows, rnn_panels_at_once(kRows)>(rnn_step(args, r, t), 0);
  }
}

using RnnBlock = void (*)(const RnnArgs&, int64_t);
constexpr RnnBlock kRnnBlocks[] = {
    nullptr,      rnn_block<1>, rnn_block<2>, rnn_block<3>, rnn_block<4>,
#if RECSTACK_ISA >= 1
    rnn_block<5>, rnn_block<6>,
#endif
#if RECSTACK_ISA >= 2
    rnn_block<7>,
#endif
};

void rnn_f32(const RnnArgs& args) {
  const int64_t blocks = (args.rows + kRnnRows - 1) / kRnnRows;
  for (int64_t b = 0, r = 0; b < blocks; ++b) {
    const int64_t end = args.rows * (b + 1) / blocks;
    kRnnBlocks[end - r](args, r);
    r = end;
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
