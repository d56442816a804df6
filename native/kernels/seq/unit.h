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
//     out[r, t] = x[0], or with `sum` out[r, j] += x[j] for all outputs of the last layer, from 0
//     on
//
// bf16 rounds the folded weights and x of every layer; sums, biases and activations are fp32.
//
// int8 is gemm8.h's, layer by layer: the row that is quantised is what a layer reads of one
// position, its range its own or the layer's, and sums are exact. The first layer reads keys, which
// key_panels quantises once per entry; its folded weights are quantised for every row, as pack_s8
// does weights. The folding stays fp32, every operation rounded by itself: one key fills 8 bits
// better than query, key and products with one range for all, and a row's weights are n * k numbers
// to quantise where its products with keys would be positions * k. Layers may be fp32 beside int8
// ones, after an fp32 layer too.
//
// Accumulator: one fp32 chain per output in the order of the format, as kernels/gemm; sums add
// up to 32 positions from 0 on (in trees of two of a set's vectors), then that to the sum so far,
// so that a sum is that of the sums of each 32 positions, in order. Lanes are positions, so no
// narrow layer pads them. Takes 200 KB of stack, bf16 and int8 270 KB.
#pragma once

#include <cstdint>

#include "core/isa.h"
#include "kernels/gemm8/gemm8.h"

namespace recstack {

enum class UnitActivation { none, relu, sigmoid, tanh, prelu, dice };

// Limits of what fits the kernel's scratch: first layer's n * k, n padded to 16; any layer's n; so
// also a key's dim.
constexpr int64_t kUnitWeights = 8192;
constexpr int64_t kUnitWidth = 256;
constexpr int64_t kUnitKeyWidth = kUnitWeights / 16;
// Positions are padded to this in the panels of keys, whatever the instruction set.
constexpr int64_t kUnitPositions = 32;

struct UnitLayer {
  int64_t n;
  int64_t k;
  const float* weight;   // of the first layer as pack leaves it, of the others as pack_later does,
                         // both of the layer's own format
  const float* product;  // first layer: the weights of q * k, packed alike; or null
  const float* bias;     // (n,) or null; not of the first layer
  UnitActivation activation;
  const float* slope;  // (n,) prelu's slope, dice's alpha
  const float* scale;  // (n,) of dice, as act.h has them
  const float* shift;
  bool int8 = false;
  const RowScale8* range = nullptr;  // int8: of all that it reads; null: each its own
};

// What becomes of keys before the unit reads them.
struct UnitKeys {
  const float* keys;  // (positions, dim)
  int64_t positions;
  int64_t dim;
  float* panels;  // panels_size floats
  // int8 only, as the first layer has them: its range, or null, and its outlier columns, ascending.
  const RowScale8* range = nullptr;
  const int32_t* outliers = nullptr;
  int64_t outlier_count = 0;
};

enum class UnitResult { scores, sum };

struct UnitArgs {
  const float* query;  // (rows, dim), rows query_stride apart; read for products only
  int64_t query_stride;
  const float* panels;  // key_panels' of each entry, panels_stride apart
  int64_t panels_stride;
  bool plain_keys;  // the panels are the keys themselves (positions, dim), of no int8 first layer
  const int32_t* entry_of_row;  // (rows,); null: row r's keys are entry r
  const float* bias;            // of the first layer, (n,) per row, bias_stride apart; or null
  int64_t bias_stride;
  const UnitLayer* layers;  // for scores the last one's n is 1
  int64_t layer_count;
  int64_t rows;
  int64_t positions;
  UnitResult result;
  float* out;  // scores (rows, positions), or sums (rows, last n), rows out_stride apart
  int64_t out_stride;
  const int32_t* outliers = nullptr;  // of an int8 first layer, as UnitKeys had them
  int64_t outlier_count = 0;
};

// Floats of the panels: the dims in a format, for int8 also a step, a zero point and the outliers.
constexpr int64_t unit_panels_size(int64_t positions, int64_t dim, bool int8, int64_t outliers) {
  const int64_t padded = (positions + kUnitPositions - 1) / kUnitPositions * kUnitPositions;
  return padded * (int8 ? dim + 2 + outliers : dim);
}

// One format on one instruction set: fp32, bf16 or int8. k is at most kUnitWidth but for fp32; the
// first layer's odd k counts in bf16 as one more towards kUnitWeights, its n in int8 as rounded up
// to 16.
struct UnitKernels {
  // Floats that pack and pack_later write at most for weights (n, k).
  int64_t (*packed_size)(int64_t n, int64_t k);
  void (*pack)(const float* w, int64_t n, int64_t k, float* packed);
  void (*pack_later)(const float* w, int64_t n, int64_t k, float* packed);
  // Dim-major panels of positions.
  void (*key_panels)(const UnitKeys&);
  // int8: of layers in int8 and in fp32, which fp32's pack has packed; panels are of the first
  // layer's format.
  void (*attention_unit)(const UnitArgs&);
};

}  // namespace recstack
