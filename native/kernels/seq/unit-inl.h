// The attention unit of unit.h: weights broadcast, positions in lanes.
#pragma once

#include "kernels/act/math-inl.h"
#include "kernels/gemm/micro-inl.h"
#include "kernels/seq/unit.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// Outputs at once: with kPanelVectors vectors of positions each they fill the register file.
constexpr int kUnitRows = kMaxRows < 12 ? kMaxRows : 12;
static_assert(kUnitPositions % kPanel == 0);

// Rows per block of a layer of n outputs: as even as can be, so that padding stays small.
RECSTACK_INLINE int64_t unit_block_rows(int64_t n) {
  const int64_t blocks = (n + kUnitRows - 1) / kUnitRows;
  return blocks == 0 ? 1 : (n + blocks - 1) / blocks;
}

int64_t unit_packed_size(int64_t n, int64_t k) {
  const int64_t rows = unit_block_rows(n);
  return (n + rows - 1) / rows * rows * k;
}

// Blocks of rows, each (k, rows), so that one step of k reads neighbours.
void pack_unit_f32(const float* w, int64_t n, int64_t k, float* packed) {
  const int64_t rows = unit_block_rows(n);
  for (int64_t j = 0; j < n; j += rows) {
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t m = 0; m < rows; ++m) *packed++ = j + m < n ? w[(j + m) * k + i] : 0.0f;
    }
  }
}

void key_panels_f32(const float* keys, int64_t positions, int64_t dim, float* panels) {
  for (int64_t t = 0; t < positions; t += kPanel) {
    const int64_t columns = lesser(kPanel, positions - t);
    transpose_panel<kPanel>(keys + t * dim, dim, columns, dim, panels + t * dim);
  }
}

// out (rows of this block, kPanel) = w (k, kRows) transposed times x (k, kPanel), plus bias.
template <int kRows>
void unit_block(const float* w, const float* x, int64_t k, const float* bias, int64_t rows,
                float* out) {
  V acc[kRows][kPanelVectors];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) acc[m][c] = zero();
  }
  for (int64_t i = 0; i < k; ++i, w += kRows, x += kPanel) {
    V column[kPanelVectors];
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) column[c] = load(x + c * kLanes);
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      const V y = set1(w[m]);
      RECSTACK_UNROLL
      for (int c = 0; c < kPanelVectors; ++c) acc[m][c] = fma(y, column[c], acc[m][c]);
    }
  }
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    if (m >= rows) break;
    const V b = bias == nullptr ? zero() : set1(bias[m]);
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) {
      store(out + m * kPanel + c * kLanes, add(acc[m][c], b));
    }
  }
}

using UnitBlock = void (*)(const float*, const float*, int64_t, const float*, int64_t, float*);
constexpr UnitBlock kUnitBlocks[] = {
    nullptr,       unit_block<1>, unit_block<2>, unit_block<3>,  unit_block<4>,
#if RECSTACK_ISA >= 1
    unit_block<5>, unit_block<6>,
#endif
#if RECSTACK_ISA >= 2
    unit_block<7>, unit_block<8>, unit_block<9>, unit_block<10>, unit_block<11>, unit_block<12>,
#endif
};

// Applies `fn(row, x)` to n rows of kPanel positions.
template <class Fn>
RECSTACK_INLINE void unit_map(int64_t n, float* x, Fn fn) {
  for (int64_t j = 0; j < n; ++j) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c, x += kLanes) store(x, fn(j, load(x)));
  }
}

RECSTACK_INLINE void unit_activate(const UnitLayer& layer, float* x) {
  switch (layer.activation) {
    case UnitActivation::none:
      return;
    case UnitActivation::relu:
      return unit_map(layer.n, x, [](int64_t, V y) { return relu(y); });
    case UnitActivation::sigmoid:
      return unit_map(layer.n, x, [](int64_t, V y) { return sigmoid(y); });
    case UnitActivation::tanh:
      return unit_map(layer.n, x, [](int64_t, V y) { return tanh(y); });
    case UnitActivation::prelu:
      return unit_map(layer.n, x, [&](int64_t j, V y) {
        return select(lt(zero(), y), y, mul(set1(layer.slope[j]), y));
      });
    case UnitActivation::dice:
      return unit_map(layer.n, x, [&](int64_t j, V y) {
        const V p = sigmoid(fma(y, set1(layer.scale[j]), set1(layer.shift[j])));
        return mul(y, fma(set1(layer.slope[j]), sub(set1(1.0f), p), p));
      });
  }
}

RECSTACK_INLINE void unit_layer(const UnitLayer& layer, const float* weight, const float* bias,
                                const float* x, float* out) {
  const int64_t rows = unit_block_rows(layer.n);
  for (int64_t j = 0; j < layer.n; j += rows, weight += rows * layer.k) {
    kUnitBlocks[rows](weight, x, layer.k, bias == nullptr ? nullptr : bias + j,
                      lesser(rows, layer.n - j), out + j * kPanel);
  }
  unit_activate(layer, out);
}

// folded = weight + product * q, all in pack_unit_f32's layout.
RECSTACK_INLINE void fold_query(const UnitLayer& layer, const float* q, float* spread,
                                float* folded) {
  const int64_t rows = unit_block_rows(layer.n);
  const int64_t block = rows * layer.k;
  for (int64_t i = 0; i < layer.k; ++i) {
    for (int64_t m = 0; m < rows; ++m) spread[i * rows + m] = q[i];
  }
  for (int64_t at = 0; at < unit_packed_size(layer.n, layer.k); at += block) {
    for (int64_t i = 0; i < block; i += kLanes) {
      const int64_t lanes = lesser(kLanes, block - i);
      const V product = load_n(layer.product + at + i, lanes);
      const V weight = load_n(layer.weight + at + i, lanes);
      store_n(folded + at + i, fma(product, load_n(spread + i, lanes), weight), lanes);
    }
  }
}

// sums (n, kLanes) += x (n, kPanel), of its first `columns` positions.
RECSTACK_INLINE void add_positions(const float* x, int64_t n, int64_t columns, float* sums) {
  for (int64_t j = 0; j < n; ++j) {
    V sum = load(sums + j * kLanes);
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) {
      const V y = load(x + j * kPanel + c * kLanes);
      const int64_t lanes = lesser(kLanes, greater(0, columns - c * kLanes));
      sum = add(sum, lanes == kLanes ? y : first_of(y, zero(), lanes));
    }
    store(sums + j * kLanes, sum);
  }
}

RECSTACK_INLINE void fold_sums(const float* sums, int64_t n, float* out) {
  for (int64_t j = 0; j < n; ++j) {
    out[j] = first_lane(fold_all(load(sums + j * kLanes), [](V a, V b) { return add(a, b); }));
  }
}

void attention_unit_f32(const UnitArgs& args) {
  alignas(64) float folded[kUnitWeights];
  alignas(64) float spread[kUnitWeights];
  alignas(64) float hidden[2][kUnitWidth * kPanel];
  alignas(64) float sums[kUnitWidth * kLanes];
  const UnitLayer& first = args.layers[0];
  const int64_t outputs = args.layers[args.layer_count - 1].n;
  for (int64_t r = 0; r < args.rows; ++r) {
    const int64_t entry = args.entry_of_row == nullptr ? r : args.entry_of_row[r];
    const float* panels = args.panels + entry * args.panels_stride;
    const float* bias = args.bias == nullptr ? nullptr : args.bias + r * args.bias_stride;
    const float* weight = first.weight;
    float* out = args.out + r * args.out_stride;
    if (first.product != nullptr) {
      fold_query(first, args.query + r * args.query_stride, spread, folded);
      weight = folded;
    }
    for (int64_t j = 0; args.result == UnitResult::sum && j < outputs; ++j) {
      store(sums + j * kLanes, zero());
    }
    for (int64_t t = 0; t < args.positions; t += kPanel) {
      const int64_t columns = lesser(kPanel, args.positions - t);
      unit_layer(first, weight, bias, panels + t * first.k, hidden[0]);
      for (int64_t l = 1; l < args.layer_count; ++l) {
        const UnitLayer& layer = args.layers[l];
        unit_layer(layer, layer.weight, layer.bias, hidden[(l - 1) % 2], hidden[l % 2]);
      }
      const float* last = hidden[(args.layer_count - 1) % 2];
      if (args.result == UnitResult::sum) {
        add_positions(last, outputs, columns, sums);
        continue;
      }
      for (int64_t i = 0; i < columns; i += kLanes) {
        store_n(out + t + i, load(last + i), lesser(kLanes, columns - i));
      }
    }
    if (args.result == UnitResult::sum) fold_sums(sums, outputs, out);
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
