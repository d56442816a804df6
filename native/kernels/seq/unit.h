// DIN's attention unit over all positions of a row's history, first layer folded.
//
// The first layer sees the query q, a key k, their difference, product and sum side by side. It is
// linear, so its weights W for these fold to
//     (Wq + Wd + Ws) q  +  (Wk - Wd + Ws + Wp diag(q)) k
// The first term is one small GEMM per tile (`bias`), the second one matrix per row, `key_weight` +
// `product_weight` * q, times the keys: no feature is ever written, and a chain is dim long instead
// of up to 5 dim.
//
//   for r in rows: for t in positions:
//     x = keys[entry_of_row[r], t]; w = key_weight + product_weight * query[r]; b = bias[r]
//     for layer in layers: x = activation(x @ w.T + b); w, b = the next layer's
//     out[r, t] = x[0], or with `sum` out[r, j] += x[j] for all outputs of the last layer
//
// bf16 rounds the folded weights and x of every layer; sums, biases and activations are fp32.
// Accumulator: one fp32 chain per output in the order of the format, as kernels/gemm; `sum` adds
// positions in lanes, t mod 16 (a set of fewer lanes: t mod those), then the lanes in a tree. Lanes
// are positions, so no narrow layer pads them. Takes 130 KB of stack, bf16 195 KB.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace recstack {

enum class UnitActivation { none, relu, sigmoid, tanh, prelu, dice };

// Limits of what fits the kernel's scratch: first layer's n * k, padded; any layer's n.
constexpr int64_t kUnitWeights = 8192;
constexpr int64_t kUnitWidth = 256;
// Positions are padded to this in the panels of keys, whatever the instruction set.
constexpr int64_t kUnitPositions = 32;

struct UnitLayer {
  int64_t n;
  int64_t k;
  const float* weight;   // of the first layer as pack leaves it, of the others as pack_later does
  const float* product;  // first layer: the weights of q * k, packed alike; or null
  const float* bias;     // (n,) or null; not of the first layer
  UnitActivation activation;
  const float* slope;  // (n,) prelu's slope, dice's alpha
  const float* scale;  // (n,) of dice, as act.h has them
  const float* shift;
};

enum class UnitResult { scores, sum };

struct UnitArgs {
  const float* query;  // (rows, dim), rows query_stride apart; read for products only
  int64_t query_stride;
  const float* panels;  // key_panels_f32's of each entry, panels_stride apart
  int64_t panels_stride;
  const int32_t* entry_of_row;  // (rows,); null: row r's keys are entry r
  const float* bias;            // of the first layer, (n,) per row, bias_stride apart; or null
  int64_t bias_stride;
  const UnitLayer* layers;  // for scores the last one's n is 1
  int64_t layer_count;
  int64_t rows;
  int64_t positions;
  UnitResult result;
  float* out;  // scores (rows, positions) or sums (rows, last n), rows out_stride apart
  int64_t out_stride;
};

// fp32 or bf16 on one instruction set; bf16's k is at most kUnitWidth, and the first layer's odd k
// counts as one more towards kUnitWeights.
struct UnitKernels {
  // Floats that pack writes for weights (n, k): n rounded up to whole blocks.
  int64_t (*packed_size)(int64_t n, int64_t k);
  void (*pack)(const float* w, int64_t n, int64_t k, float* packed);
  void (*pack_later)(const float* w, int64_t n, int64_t k, float* packed);
  // keys (positions, dim) -> dim-major panels of positions; dim * positions rounded up to
  // kUnitPositions floats.
  void (*key_panels_f32)(const float* keys, int64_t positions, int64_t dim, float* panels);
  void (*attention_unit)(const UnitArgs&);
};

}  // namespace recstack
