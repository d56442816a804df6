// A GRU or AUGRU over all positions of many rows; see GateArgs (seq.h) for the equations.
//
//   for t in positions: for r in rows:
//     hg = h[r] @ weight_hh.T + bias_hh        (t == 0: h is 0, hg is the bias)
//     h[r] = gates(xg[entry_of_row[r], t], hg, h[r]), or as it was where the mask is 0
//
// hg stays in registers. A panel holds the three gates of one vector of hidden units and is read
// once per position for all rows; odd positions walk the panels backwards, so that what lies in L1
// from the position before is met first. Accumulator: one fp32 chain per output in the order that
// gemm.h has for the weights' format, the same for any number of rows; bf16 rounds h for the
// product alone.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/gemm/gemm.h"

namespace recstack {

struct RecurrenceArgs {
  const float* xg;  // (entries, positions, 3 * hidden), entries xg_stride apart; biases added
  int64_t xg_stride;
  const int32_t* xg_entry_of_row;  // null: row r reads entry r
  const void* packed;              // pack's layout, 64-byte aligned
  const float* bias;               // (3 * hidden,) or null
  const float* attention;          // (rows, positions), attention_stride apart; null: GRU
  int64_t attention_stride;
  const float* mask;  // (entries, positions) of 0 and 1, mask_stride apart; null: all 1
  int64_t mask_stride;
  const int32_t* mask_entry_of_row;
  int64_t rows;
  int64_t positions;  // at least 1
  int64_t hidden;
  bool sequence;  // out holds all states, else the last one
  float* out;     // (rows, positions * hidden) or (rows, hidden), rows out_stride apart
  int64_t out_stride;
  // (rows, 2 * hidden, and for bf16 as many more as hidden rounded up to 16) to work in,
  // state_stride apart; with `sequence` bf16 alone needs it.
  float* state;
  int64_t state_stride;
};

// One format of weight_hh on one instruction set.
struct RecurrenceKernels {
  // Bytes that pack writes for weight_hh (3 * hidden, hidden).
  int64_t (*packed_bytes)(int64_t hidden);
  void (*pack)(const float* weight_hh, int64_t hidden, void* packed);
  void (*recurrence)(const RecurrenceArgs&);
};

}  // namespace recstack
