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

template <class W>
int64_t unit_packed_size(int64_t n, int64_t k) {
  const int64_t rows = unit_block_rows(n);
  return (n + rows - 1) / rows * rows * steps_of<W>(k) * W::kValues;
}

// Blocks of rows, each (steps, rows, columns of a step), so that one step reads neighbours.
template <class W>
void pack_unit(const float* w, int64_t n, int64_t k, float* packed) {
  const int64_t rows = unit_block_rows(n);
  for (int64_t j = 0; j < n; j += rows) {
    for (int64_t i = 0; i < k; i += W::kValues) {
      for (int64_t m = j; m < j + rows; ++m) {
        for (int64_t v = i; v < i + W::kValues; ++v) {
          *packed++ = m < n && v < k ? w[m * k + v] : 0.0f;
        }
      }
    }
  }
}

inline void key_panels(const UnitKeys& of) {
  for (int64_t t = 0; t < of.positions; t += kPanel) {
    const int64_t columns = lesser(kPanel, of.positions - t);
    transpose_panel<kPanel>(of.keys + t * of.dim, of.dim, columns, of.dim, of.panels + t * of.dim);
  }
}

// x (k, kPanel) as load_x makes it of a position's columns: (steps * kParts, kPanel).
template <class W>
RECSTACK_INLINE const float* unit_elements(const float* x, int64_t k, float* elements) {
  if constexpr (W::kRoundsX) {
    float* to = elements;
    for (int64_t i = 0; i < k; i += W::kValues, x += W::kValues * kPanel) {
      RECSTACK_UNROLL
      for (int part = 0; part < W::kParts; ++part, to += kPanel) {
        RECSTACK_UNROLL
        for (int c = 0; c < kPanelVectors; ++c) {
          const V first = load(x + c * kLanes);
          const V second = i + 1 < k ? load(x + c * kLanes + kPanel) : zero();
          store(to + c * kLanes, W::pair_lanes(first, second, part));
        }
      }
    }
    return elements;
  }
  return x;
}

// out (rows of this block, kPanel) = w (steps, kRows) transposed times x (steps, kPanel), both as
// load_x makes them, plus bias.
template <class W, int kRows>
void unit_block(const float* w, const float* x, int64_t steps, const float* bias, int64_t rows,
                float* out) {
  V acc[kRows][kPanelVectors];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) acc[m][c] = zero();
  }
  for (int64_t i = 0; i < steps; ++i, w += kRows * W::kParts, x += kPanel * W::kParts) {
    RECSTACK_UNROLL
    for (int part = W::kParts - 1; part >= 0; --part) {
      V column[kPanelVectors];
      RECSTACK_UNROLL
      for (int c = 0; c < kPanelVectors; ++c) column[c] = load(x + part * kPanel + c * kLanes);
      RECSTACK_UNROLL
      for (int m = 0; m < kRows; ++m) {
        const V y = set1(w[m * W::kParts + part]);
        RECSTACK_UNROLL
        for (int c = 0; c < kPanelVectors; ++c) {
          acc[m][c] = W::multiply_add(y, column[c], acc[m][c]);
        }
      }
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
template <class W>
constexpr UnitBlock kUnitBlocks[] = {
    nullptr,           unit_block<W, 1>, unit_block<W, 2>, unit_block<W, 3>,  unit_block<W, 4>,
#if RECSTACK_ISA >= 1
    unit_block<W, 5>,  unit_block<W, 6>,
#endif
#if RECSTACK_ISA >= 2
    unit_block<W, 7>,  unit_block<W, 8>, unit_block<W, 9>, unit_block<W, 10>, unit_block<W, 11>,
    unit_block<W, 12>,
#endif
};

// What lies at x, of row j and vector c of its positions, as it is.
struct AsIs {
  RECSTACK_INLINE V operator()(int64_t, int, const float* x) const { return load(x); }
};

// x = fn(row, read(row, vector, x)) of n rows of kPanel positions.
template <class Read, class Fn>
RECSTACK_INLINE void unit_map(int64_t n, float* x, const Read& read, Fn fn) {
  for (int64_t j = 0; j < n; ++j) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c, x += kLanes) store(x, fn(j, read(j, c, x)));
  }
}

template <class Read>
RECSTACK_INLINE void unit_activate(const UnitLayer& layer, const Read& read, float* x) {
  switch (layer.activation) {
    case UnitActivation::none:
      if constexpr (__is_same(Read, AsIs)) return;
      return unit_map(layer.n, x, read, [](int64_t, V y) { return y; });
    case UnitActivation::relu:
      return unit_map(layer.n, x, read, [](int64_t, V y) { return relu(y); });
    case UnitActivation::sigmoid:
      return unit_map(layer.n, x, read, [](int64_t, V y) { return sigmoid(y); });
    case UnitActivation::tanh:
      return unit_map(layer.n, x, read, [](int64_t, V y) { return tanh(y); });
    case UnitActivation::prelu:
      return unit_map(layer.n, x, read, [&](int64_t j, V y) {
        return select(lt(zero(), y), y, mul(set1(layer.slope[j]), y));
      });
    case UnitActivation::dice:
      return unit_map(layer.n, x, read, [&](int64_t j, V y) {
        const V p = sigmoid(fma(y, set1(layer.scale[j]), set1(layer.shift[j])));
        return mul(y, fma(set1(layer.slope[j]), sub(set1(1.0f), p), p));
      });
  }
}

template <class W>
RECSTACK_INLINE void unit_layer(const UnitLayer& layer, const float* weight, const float* bias,
                                const float* x, float* elements, float* out) {
  const int64_t rows = unit_block_rows(layer.n), steps = steps_of<W>(layer.k);
  x = unit_elements<W>(x, layer.k, elements);
  for (int64_t j = 0; j < layer.n; j += rows, weight += rows * steps * W::kParts) {
    kUnitBlocks<W>[rows](weight, x, steps, bias == nullptr ? nullptr : bias + j,
                         lesser(rows, layer.n - j), out + j* kPanel);
  }
  unit_activate(layer, AsIs{}, out);
}

// folded = weight + product * q, all in pack's layout.
template <class W>
RECSTACK_INLINE void fold_query(const UnitLayer& layer, const float* q, float* spread,
                                float* folded) {
  const int64_t rows = unit_block_rows(layer.n);
  const int64_t block = rows * steps_of<W>(layer.k) * W::kValues;
  for (int64_t i = 0; i < layer.k; i += W::kValues) {
    for (int64_t m = 0; m < rows; ++m) {
      for (int64_t v = i; v < i + W::kValues; ++v) *spread++ = v < layer.k ? q[v] : 0.0f;
    }
  }
  spread -= block;
  for (int64_t at = 0; at < unit_packed_size<W>(layer.n, layer.k); at += block) {
    for (int64_t i = 0; i < block; i += kLanes) {
      const int64_t lanes = lesser(kLanes, block - i);
      const V product = load_n(layer.product + at + i, lanes);
      const V weight = load_n(layer.weight + at + i, lanes);
      store_n(folded + at + i, fma(product, load_n(spread + i, lanes), weight), lanes);
    }
  }
}

// out (n,) += the sums of x (n, kPanel) over its first `columns` positions.
RECSTACK_INLINE void add_positions(const float* x, int64_t n, int64_t columns, float* out) {
  for (int64_t j = 0; j < n; j += kLanes, x += kLanes * kPanel) {
    const int64_t outputs = lesser(kLanes, n - j);
    V sums[kLanes];
    RECSTACK_UNROLL
    for (int i = 0; i < kLanes; ++i) {
      sums[i] = zero();
      if (i >= outputs) continue;
      RECSTACK_UNROLL
      for (int c = 0; c < kPanelVectors; ++c) {
        const V y = load(x + i * kPanel + c * kLanes);
        const int64_t lanes = lesser(kLanes, greater(0, columns - c * kLanes));
        sums[i] = add(sums[i], lanes == kLanes ? y : first_of(y, zero(), lanes));
      }
    }
    transpose(sums);
    RECSTACK_UNROLL
    for (int half = kLanes / 2; half > 0; half /= 2) {
      RECSTACK_UNROLL
      for (int i = 0; i < half; ++i) sums[i] = add(sums[i], sums[i + half]);
    }
    store_n(out + j, add(load_n(out + j, outputs), sums[0]), outputs);
  }
}

// All layers in one format: `begin` before the positions of a row, then kPanel positions' values of
// a layer from those of the one before.
template <class W>
class Unit {
 public:
  explicit Unit(const UnitArgs& args) : args_(args), first_(args.layers[0]) {
    if constexpr (W::kRoundsX) {
      if (first_.product == nullptr) copy_elements<W>(first_.weight, packed(), rounded_);
    }
  }

  RECSTACK_INLINE void begin(int64_t r, int64_t entry) {
    panels_ = args_.panels + entry * args_.panels_stride;
    bias_ = args_.bias == nullptr ? nullptr : args_.bias + r * args_.bias_stride;
    weight_ = first_.weight;
    if (first_.product != nullptr) {
      fold_query<W>(first_, args_.query + r * args_.query_stride, spread_, folded_);
      weight_ = folded_;
      if constexpr (W::kRoundsX) copy_elements<W>(folded_, packed(), rounded_);
    }
    if constexpr (W::kRoundsX) weight_ = rounded_;
  }

  RECSTACK_INLINE void first(int64_t t, float* out) {
    const float* panel = panels_ + t * first_.k;
    if (args_.plain_keys) {
      const int64_t columns = lesser(kPanel, args_.positions - t);
      transpose_panel<kPanel>(panel, first_.k, columns, first_.k, panel_);
      panel = panel_;
    }
    unit_layer<W>(first_, weight_, bias_, panel, elements_, out);
  }

  RECSTACK_INLINE void later(const UnitLayer& layer, const float* x, float* out) {
    unit_layer<W>(layer, layer.weight, layer.bias, x, elements_, out);
  }

 private:
  int64_t packed() const { return unit_packed_size<W>(first_.n, first_.k); }

  const UnitArgs& args_;
  const UnitLayer& first_;
  const float* panels_;
  const float* bias_;
  const float* weight_;
  alignas(64) float folded_[kUnitWeights];
  alignas(64) float spread_[kUnitWeights];
  alignas(64) float panel_[kUnitKeyWidth * kPanel];
  alignas(64) float rounded_[W::kRoundsX ? kUnitWeights + kLanes : 1];
  alignas(64) float elements_[W::kRoundsX ? kUnitWidth * kPanel : 1];
};

// out (n,) += group, which is 0 again.
RECSTACK_INLINE void end_group(float* group, int64_t n, float* out) {
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t lanes = lesser(kLanes, n - j);
    store_n(out + j, add(load_n(out + j, lanes), load_n(group + j, lanes)), lanes);
    store_n(group + j, zero(), lanes);
  }
}

template <class AnyUnit>
void attention_unit(const UnitArgs& args) {
  AnyUnit unit(args);
  alignas(64) float hidden[2][kUnitWidth * kPanel];
  const int64_t outputs = args.layers[args.layer_count - 1].n;
  const bool total = args.result != UnitResult::scores;
  alignas(64) float group[kUnitWidth] = {};
  for (int64_t r = 0; r < args.rows; ++r) {
    float* out = args.out + r * args.out_stride;
    unit.begin(r, args.entry_of_row == nullptr ? r : args.entry_of_row[r]);
    for (int64_t j = 0; total && j < outputs; ++j) out[j] = 0.0f;
    for (int64_t t = 0; t < args.positions; t += kPanel) {
      const int64_t columns = lesser(kPanel, args.positions - t);
      unit.first(t, hidden[0]);
      for (int64_t l = 1; l < args.layer_count; ++l) {
        unit.later(args.layers[l], hidden[(l - 1) % 2], hidden[l % 2]);
      }
      const float* last = hidden[(args.layer_count - 1) % 2];
      if (total) {
        add_positions(last, outputs, columns, group);
        const int64_t next = t + kPanel;
        if (next >= args.positions || next % kUnitPositions == 0) end_group(group, outputs, out);
        continue;
      }
      for (int64_t i = 0; i < columns; i += kLanes) {
        store_n(out + t + i, load(last + i), lesser(kLanes, columns - i));
      }
    }
  }
}

// The layers after the first, whose weights no query changes, as load_x makes them.
template <class W>
void pack_later_unit(const float* w, int64_t n, int64_t k, float* packed) {
  pack_unit<W>(w, n, k, packed);
  float lanes[2 * kLanes] = {};
  const int64_t size = unit_packed_size<W>(n, k);
  constexpr int64_t kStride = kLanes * W::kXValues;
  for (int64_t i = 0, to = 0; i < size; i += kStride, to += kLanes) {
    copy_elements<W>(packed + i, lesser(kStride, size - i), lanes);
    const int64_t made = lesser(kLanes, (size - i + W::kXValues - 1) / W::kXValues);
    for (int64_t e = 0; e < made; ++e) packed[to + e] = lanes[e];
  }
}

template <class W>
constexpr UnitKernels kUnitKernels = {.packed_size = unit_packed_size<W>,
                                      .pack = pack_unit<W>,
                                      .pack_later = pack_later_unit<W>,
                                      .key_panels = key_panels,
                                      .attention_unit = attention_unit<Unit<W>>};

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
