// Recurrent cells and attention pooling over sequences. Projections are GEMMs (kernels/gemm); here
// is what stands between them.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/seq/recurrence.h"
#include "kernels/seq/rnn.h"
#include "kernels/seq/unit.h"

namespace recstack {

// One step of a GRU over many rows, torch's gate order (reset, update, new) and equations:
//   r = sigmoid(xg_r + hg_r); z = sigmoid(xg_z + hg_z); n = tanh(xg_n + r * hg_n)
//   GRU:   h' = (1 - z) * n + z * h
//   AUGRU: u = a * z; h' = (1 - u) * h + u * n          (a: this row's attention score)
// Both biases are already in xg and hg. A row whose mask is 0 keeps h. In place (out == h) allowed.
struct GateArgs {
  const float* xg;  // (rows, 3 * hidden), rows xg_stride apart
  int64_t xg_stride;
  const float* hg;  // (rows, 3 * hidden), rows hg_stride apart
  int64_t hg_stride;
  const float* h;  // (rows, hidden), rows h_stride apart
  int64_t h_stride;
  const float* attention;  // one score per row, attention_stride apart; null: GRU
  int64_t attention_stride;
  const float* mask;  // one 0/1 per row, mask_stride apart; null: all 1
  int64_t mask_stride;
  int64_t rows;
  int64_t hidden;
  float* out;  // (rows, hidden), rows out_stride apart
  int64_t out_stride;
};

// What DIN's attention unit sees of a query and a key, side by side in this bit order.
enum AttentionFeature : uint32_t {
  kQuery = 1,
  kKey = 2,
  kDifference = 4 /* q - k */,
  kProduct = 8,
  kSum = 16 /* q + k */
};

// out[r, :] = sum_t scores[r, t] * keys[entry_of_row[r], t, :]. Accumulator: four fp32 chains per
// output, over t mod 4 (what is left of positions in the first), added in pairs.
struct WeightedSumArgs {
  const float* scores;  // (rows, positions), rows scores_stride apart
  int64_t scores_stride;
  const float* keys;  // (entries, positions, dim), entries keys_stride apart
  int64_t keys_stride;
  const int32_t* entry_of_row;  // null: row r's keys are entry r
  int64_t rows;
  int64_t positions;
  int64_t dim;
  float* out;  // (rows, dim), rows out_stride apart
  int64_t out_stride;
};

struct SeqKernels {
  void (*gates_f32)(const GateArgs&);
  // out[r, t, :] = the chosen features of (query[r], keys[r, t]), each dim wide; the caller's
  // buffer is dense: (rows * positions, popcount(features) * dim).
  void (*attention_features_f32)(const float* query, int64_t query_stride, const float* keys,
                                 int64_t keys_stride, int64_t rows, int64_t positions, int64_t dim,
                                 uint32_t features, float* out);
  void (*weighted_sum_f32)(const WeightedSumArgs&);
  RecurrenceKernels recurrence[3];  // by WeightFormat
  RnnKernels rnn[3];
  UnitKernels unit[3];  // fp32, bf16, int8
};

const SeqKernels& seq_kernels(Isa isa);

}  // namespace recstack
