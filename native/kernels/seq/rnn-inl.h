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

template <class W>
int64_t rnn_steps(int64_t hidden, int64_t dim) {
  return steps_of<W>(dim) + steps_of<W>(hidden);
}

template <class W>
int64_t rnn_packed_bytes(int64_t hidden, int64_t dim) {
  return (hidden + kPanel - 1) / kPanel * kPanel * rnn_steps<W>(hidden, dim) *
         static_cast<int64_t>(sizeof(typename W::Word));
}

// Per kPanel outputs a panel (steps, kPanel) of the input's weights and then the state's, zeros
// past the last output.
template <class W>
void pack_rnn(const float* weight, int64_t hidden, int64_t dim, void* packed) {
  const int64_t k = dim + hidden;
  for (int64_t j = 0; j < hidden; j += kPanel) {
    auto* to = static_cast<typename W::Word*>(packed) + j * rnn_steps<W>(hidden, dim);
    const int64_t columns = lesser(kPanel, hidden - j);
    pack_panel<W, kPanel>(weight + j * k, k, columns, dim, to);
    pack_panel<W, kPanel>(weight + j * k + dim, k, columns, hidden, to + steps_of<W>(dim) * kPanel);
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
  // What x and old are as load_x makes them.
  const float* x_elements;
  int64_t x_elements_stride;
  const float* old_elements;
  int64_t old_elements_stride;
};

template <class W, int kRows>
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
                  .fresh_stride = stride,
                  .x_elements = nullptr,
                  .x_elements_stride = args.state_stride,
                  .old_elements = nullptr,
                  .old_elements_stride = args.state_stride};
  if (t > 0) {
    step.old = after(t - 1);
  } else if (args.start != nullptr) {
    step.old = args.start + r * args.start_stride;
    step.old_stride = args.start_stride;
  }
  if constexpr (W::kRoundsX) {
    float* x = args.state + r * args.state_stride + 2 * args.hidden;
    float* old = x + (args.dim + 15) / 16 * 16;
    for (int64_t m = 0; m < kRows; ++m) {
      copy_elements<W>(step.x + m * args.x_stride, args.dim, x + m * args.state_stride);
      if (step.old == nullptr) continue;
      copy_elements<W>(step.old + m * step.old_stride, args.hidden, old + m * args.state_stride);
    }
    step.x_elements = x;
    step.old_elements = old;
  } else {
    step.x_elements = step.x;
    step.x_elements_stride = args.x_stride;
    step.old_elements = step.old;
    step.old_elements_stride = step.old_stride;
  }
  return step;
}

// Hidden units [j, j + kPanels * kPanel), as far as there are any.
template <class W, int kRows, int kPanels>
RECSTACK_INLINE void rnn_columns(const RnnStep& step, int64_t j) {
  constexpr int kColumns = kPanelVectors * kPanels;
  const RnnArgs& args = step.args;
  const int64_t panel_stride = rnn_steps<W>(args.hidden, args.dim) * kPanel;
  const auto* w = static_cast<const typename W::Word*>(args.packed) + j / kPanel * panel_stride;
  const int64_t steps = steps_of<W>(args.dim);
  V acc[kRows][kColumns];
  RECSTACK_UNROLL
  for (int i = 0; i < kRows * kColumns; ++i) acc[i / kColumns][i % kColumns] = zero();
  accumulate<kRows, kPanelVectors, kPanels, W>(step.x_elements, step.x_elements_stride, w,
                                               panel_stride, steps, acc);
  if (step.old != nullptr) {
    accumulate<kRows, kPanelVectors, kPanels, W>(step.old_elements, step.old_elements_stride,
                                                 w + steps * kPanel, panel_stride,
                                                 steps_of<W>(args.hidden), acc);
  }
  alignas(64) float sums[kRows][kColumns * kLanes];
  RECSTACK_UNROLL
  for (int i = 0; i < kRows * kColumns; ++i) {
    store(sums[i / kColumns] + i % kColumns * kLanes, acc[i / kColumns][i % kColumns]);
  }
  const int64_t columns = lesser(kColumns * kLanes, args.hidden - j);
  if (columns == kColumns * kLanes) {
    V bias[kColumns];
    RECSTACK_UNROLL
    for (int c = 0; c < kColumns; ++c) {
      bias[c] = args.bias == nullptr ? zero() : load(args.bias + j + c * kLanes);
    }
    for (int m = 0; m < kRows; ++m) {
      float* out = step.fresh + m * step.fresh_stride + j;
      RECSTACK_UNROLL
      for (int c = 0; c < kColumns; ++c) {
        store(out + c * kLanes, tanh(add(load(sums[m] + c * kLanes), bias[c])));
      }
    }
    return;
  }
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
template <class W, int kRows, int kPanels>
RECSTACK_INLINE void rnn_panels(const RnnStep& step, int64_t j) {
  for (; step.args.hidden - j > (kPanels - 1) * kPanel; j += kPanels * kPanel) {
    rnn_columns<W, kRows, kPanels>(step, j);
  }
  if constexpr (kPanels > 1) rnn_panels<W, kRows, kPanels / 2>(step, j);
}

template <class W, int kRows>
void rnn_block(const RnnArgs& args, int64_t r) {
  for (int64_t t = 0; t < args.positions; ++t) {
    rnn_panels<W, kRows, rnn_panels_at_once(kRows)>(rnn_step<W, kRows>(args, r, t), 0);
  }
}

using RnnBlock = void (*)(const RnnArgs&, int64_t);
template <class W>
constexpr RnnBlock kRnnBlocks[] = {
    nullptr,         rnn_block<W, 1>, rnn_block<W, 2>, rnn_block<W, 3>, rnn_block<W, 4>,
#if RECSTACK_ISA >= 1
    rnn_block<W, 5>, rnn_block<W, 6>,
#endif
#if RECSTACK_ISA >= 2
    rnn_block<W, 7>,
#endif
};

template <class W>
void rnn(const RnnArgs& args) {
  const int64_t blocks = (args.rows + kRnnRows - 1) / kRnnRows;
  for (int64_t b = 0, r = 0; b < blocks; ++b) {
    const int64_t end = args.rows * (b + 1) / blocks;
    kRnnBlocks<W>[end - r](args, r);
    r = end;
  }
}

template <class W>
constexpr RnnKernels kRnnKernels = {
    .packed_bytes = rnn_packed_bytes<W>, .pack = pack_rnn<W>, .rnn = rnn<W>};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
