// A plain tanh RNN over all positions of many rows.
//
//   for r in rows: for t in positions: for j in hidden:
//     acc = 0
//     for i in dim, in order:    acc = fma(x[r, t, i], w[j, i], acc)
//     for i in hidden, in order: acc = fma(h[r, i], w[j, dim + i], acc)    (h: what t - 1 gave)
//     h'[r, j] = tanh(acc + bias[j])
//
// At t == 0 h is `start`; without one it is 0 and its products are left out. The input's products
// are not made beforehand, in one GEMM: they would be written and read again, and here they fill
// the time in which the state before them still passes its tanh. A block of rows goes through all
// positions before the next does, so that its states stay in L1.
//
// Accumulator: one fp32 chain per output, the same for any number of rows; within the input's and
// the state's part of it the order that gemm.h has for the weights' format. bf16 rounds x and h for
// the product alone. Cost: 2 * rows *
// positions * hidden * (dim + hidden) FLOPs; 4 * rows * positions * (dim + hidden) bytes, and the
// weights once per block of rows and position, from L1 or L2.
#pragma once

#include <cstdint>

namespace recstack {

struct RnnArgs {
  const float* x;  // (rows, positions, dim), rows x_stride apart
  int64_t x_stride;
  int64_t dim;
  const void* packed;  // pack's layout, 64-byte aligned
  const float* bias;   // (hidden,) or null
  const float* start;  // (rows, hidden), start_stride apart, or null
  int64_t start_stride;
  int64_t rows;
  int64_t positions;  // at least 1
  int64_t hidden;
  bool sequence;  // out holds all states, else the last one
  float* out;     // (rows, positions * hidden) or (rows, hidden), rows out_stride apart
  int64_t out_stride;
  // (rows, 2 * hidden, and for bf16 as many more as dim and hidden, each rounded up to 16) to work
  // in, state_stride apart; with `sequence` bf16 alone needs it.
  float* state;
  int64_t state_stride;
};

// One format of the weight on one instruction set.
struct RnnKernels {
  // Bytes that pack writes for a weight of shape (hidden, dim + hidden).
  int64_t (*packed_bytes)(int64_t hidden, int64_t dim);
  void (*pack)(const float* weight, int64_t hidden, int64_t dim, void* packed);
  // `out` and `state` may overlap neither x nor start.
  void (*rnn)(const RnnArgs&);
};

}  // namespace recstack
