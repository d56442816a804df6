// The attention unit of unit.h in int8: positions in lanes, each with its own step and zero point.
#pragma once

#include "kernels/gemm8/rows-inl.h"
#include "kernels/seq/tables.h"
#include "kernels/seq/unit-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE int64_t groups_of(int64_t k) { return round_up(k, kGroup) / kGroup; }
// Outputs of quantised weights, in whole vectors.
RECSTACK_INLINE int64_t unit8_width(int64_t n) { return round_up(n, kLanes); }

// Quantised weights of one layer, in one block of floats.
struct UnitWeights8 {
  int32_t* groups;  // (groups, width), each kGroup weights of one output
  float* scale;     // (width,)
  float* sum;       // (width,), whole numbers

  RECSTACK_INLINE UnitWeights8(float* packed, int64_t n, int64_t k)
      : groups(reinterpret_cast<int32_t*>(packed)),
        scale(packed + groups_of(k) * unit8_width(n)),
        sum(scale + unit8_width(n)) {}
};

// Floats for whichever is larger: weights before quantising (k, width), or after.
int64_t unit8_packed_size(int64_t n, int64_t k) {
  return unit8_width(n) * (k > groups_of(k) + 2 ? k : groups_of(k) + 2);
}

// The low bits of each, side by side in a lane: |q| < 2^(32 / kGroup).
RECSTACK_INLINE I join_group(const I (&q)[kGroup]) {
  I word = q[kGroup - 1];
  if constexpr (kGroup > 1) {
    constexpr int kBits = 32 / kGroup;
    RECSTACK_UNROLL
    for (int64_t i = kGroup - 2; i >= 0; --i) {
      word = xor_bits(shift_left<kBits>(word), and_bits(q[i], set1_int((1 << kBits) - 1)));
    }
  }
  return word;
}

RECSTACK_INLINE bool is_outlier(const int32_t* outliers, int64_t count, int64_t i) {
  for (int64_t o = 0; o < count; ++o) {
    if (outliers[o] == i) return true;
  }
  return false;
}

// w (k, width), outputs in lanes, as pack_s8 has it for each output; outliers count as 0. `to` may
// lie where w does: no element is read after one of its own or a lower row is written.
RECSTACK_INLINE void quantise_outputs(const float* w, int64_t n, int64_t k, const int32_t* outliers,
                                      int64_t count, const UnitWeights8& to) {
  const int64_t width = unit8_width(n);
  for (int64_t j = 0; j < width; j += kLanes) {
    V largest = zero(), poison = zero();
    for (int64_t i = 0; i < k; ++i) {
      if (count > 0 && is_outlier(outliers, count, i)) continue;
      const V y = load(w + i * width + j);
      largest = max(abs(y), largest);
      poison = fma(y, zero(), poison);
    }
    V scale = div(largest, set1(127.0f));
    scale = select(lt(scale, set1(kSmallestScale)), zero(), scale);
    const V divisor = select(lt(zero(), scale), scale, set1(__builtin_inff()));
    I total = set1_int(0);
    for (int64_t i = 0; i < k; i += kGroup) {
      I q[kGroup];
      RECSTACK_UNROLL
      for (int64_t v = 0; v < kGroup; ++v) {
        const bool none = i + v >= k || (count > 0 && is_outlier(outliers, count, i + v));
        q[v] = none ? set1_int(0) : to_nearest_int(div(load(w + (i + v) * width + j), divisor));
        total = add(total, q[v]);
      }
      store_ints(to.groups + i / kGroup * width + j, join_group(q));
    }
    store(to.scale + j, add(scale, poison));
    store(to.sum + j, to_float(total));
  }
}

// (n, k) -> (k, width), zeros past n.
void pack_unit8(const float* w, int64_t n, int64_t k, float* packed) {
  const int64_t width = unit8_width(n);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < width; ++j) packed[i * width + j] = j < n ? w[j * k + i] : 0.0f;
  }
}

// What a layer reads of kPanel positions.
struct UnitInput8 {
  const int32_t* groups;  // (groups, kPanel)
  const float* step;      // (kPanel,)
  const float* zero;
  const int32_t* outliers = nullptr;  // (outlier_count,) columns
  int64_t outlier_count = 0;
  const float* values = nullptr;  // (outlier_count, kPanel), values_stride apart
  int64_t values_stride = 0;
};

// x (k, kPanel), each column by itself.
RECSTACK_INLINE void quantise_positions(const float* x, int64_t k, const RowScale8* range,
                                        const int32_t* outliers, int64_t count, int32_t* groups,
                                        float* step_out, float* zero_out) {
  RECSTACK_UNROLL
  for (int c = 0; c < kPanelVectors; ++c, x += kLanes, groups += kLanes) {
    V low = zero(), high = zero(), poison = zero();
    for (int64_t i = 0; i < k; ++i) {
      const V y = load(x + i * kPanel);
      poison = fma(y, zero(), poison);
      if (range != nullptr || (count > 0 && is_outlier(outliers, count, i))) continue;
      low = min(y, low);
      high = max(y, high);
    }
    V step, inverse, zero_point;
    if (range == nullptr) {
      scales_of(low, high, step, inverse, zero_point);
    } else {
      step = set1(range->step);
      inverse = set1(range->inverse);
      zero_point = set1(range->zero);
    }
    const V least = neg(zero_point), most = sub(set1(255.0f), zero_point);
    const I offset = to_nearest_int(zero_point);
    for (int64_t i = 0; i < k; i += kGroup) {
      I q[kGroup];
      RECSTACK_UNROLL
      for (int64_t v = 0; v < kGroup; ++v) {
        const V y = i + v < k ? load(x + (i + v) * kPanel) : zero();
        q[v] = add(to_nearest_int(min(max(mul(y, inverse), least), most)), offset);
      }
      store_ints(groups + i / kGroup * kPanel, join_group(q));
    }
    store(step_out + c * kLanes, add(step, poison));
    store(zero_out + c * kLanes, zero_point);
  }
}

// Sums of kRows outputs from `w` on. Stored as the integers that they are: converted here, GCC 12
// keeps two copies of each, one of them in memory.
template <int kRows>
void unit8_block(const int32_t* w, int64_t width, const int32_t* x, int64_t groups, int32_t* sums) {
  I acc[kRows][kPanelVectors];
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) acc[m][c] = set1_int(0);
  }
  for (int64_t g = 0; g < groups; ++g, w += width, x += kPanel) {
    I column[kPanelVectors];
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) column[c] = load_ints(x + c * kLanes);
    RECSTACK_UNROLL
    for (int m = 0; m < kRows; ++m) {
      const I y = set1_int(w[m]);
      RECSTACK_UNROLL
      for (int c = 0; c < kPanelVectors; ++c) acc[m][c] = dot(acc[m][c], column[c], y);
    }
  }
  RECSTACK_UNROLL
  for (int m = 0; m < kRows; ++m) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) store_ints(sums + m * kPanel + c * kLanes, acc[m][c]);
  }
}

using Unit8Block = void (*)(const int32_t*, int64_t, const int32_t*, int64_t, int32_t*);
constexpr Unit8Block kUnit8Blocks[] = {
    nullptr,         unit8_block<1>, unit8_block<2>, unit8_block<3>,  unit8_block<4>,
#if RECSTACK_ISA >= 1
    unit8_block<5>,  unit8_block<6>,
#endif
#if RECSTACK_ISA >= 2
    unit8_block<7>,  unit8_block<8>, unit8_block<9>, unit8_block<10>, unit8_block<11>,
    unit8_block<12>,
#endif
};

// From a layer's sums to what its activation reads.
class Requantise {
 public:
  // bias: (n,) or null. side (k, width): the weights of outliers.
  RECSTACK_INLINE Requantise(const UnitWeights8& w, const UnitInput8& x, const float* bias,
                             const float* side, int64_t width)
      : w_(w), x_(x), bias_(bias), side_(side), width_(width) {
    RECSTACK_UNROLL
    for (int c = 0; c < kPanelVectors; ++c) {
      step_[c] = load(x.step + c * kLanes);
      offset_[c] = neg(load(x.zero + c * kLanes));
    }
  }

  RECSTACK_INLINE V operator()(int64_t j, int c, const float* sums) const {
    // Whole numbers below 2^24, as k <= 256: exact, like gemm8's int32.
    const V product = fma(offset_[c], set1(w_.sum[j]), to_float(bits(load(sums))));
    V y = mul(product, mul(step_[c], set1(w_.scale[j])));
    for (int64_t o = 0; o < x_.outlier_count; ++o) {
      const V column = load(x_.values + o * x_.values_stride + c * kLanes);
      y = add(y, mul(column, set1(side_[x_.outliers[o] * width_ + j])));
    }
    return bias_ == nullptr ? y : add(y, set1(bias_[j]));
  }

 private:
  const UnitWeights8& w_;
  const UnitInput8& x_;
  const float* bias_;
  const float* side_;
  int64_t width_;
  V step_[kPanelVectors], offset_[kPanelVectors];
};

RECSTACK_INLINE void unit8_layer(const UnitLayer& layer, const UnitWeights8& w, const float* bias,
                                 const UnitInput8& x, const float* side, float* out) {
  const int64_t rows = unit_block_rows(layer.n), width = unit8_width(layer.n);
  const int64_t groups = groups_of(layer.k);
  for (int64_t j = 0; j < layer.n; j += rows) {
    kUnit8Blocks[lesser(rows, layer.n - j)](w.groups + j, width, x.groups, groups,
                                            reinterpret_cast<int32_t*>(out) + j * kPanel);
  }
  unit_activate(layer, Requantise(w, x, bias, side, width), out);
}

// Layers in int8, and fp32 ones among them; see Unit.
class Unit8 {
 public:
  explicit Unit8(const UnitArgs& args)
      : args_(args), first_(args.layers[0]), fp32_(args), weights_(packed_, first_.n, first_.k) {
    if (first_.int8 && first_.product == nullptr) quantise_first(first_.weight);
  }

  RECSTACK_INLINE void begin(int64_t r, int64_t entry) {
    if (!first_.int8) return fp32_.begin(r, entry);
    const int64_t padded = round_up(args_.positions, kUnitPositions);
    step_ = args_.panels + entry * args_.panels_stride;
    outliers_ = step_ + 2 * padded;
    groups_ = reinterpret_cast<const int32_t*>(outliers_ + args_.outlier_count * padded);
    bias_ = args_.bias == nullptr ? nullptr : args_.bias + r * args_.bias_stride;
    folded_now_ = first_.weight;
    if (first_.product == nullptr) return;
    const float* q = args_.query + r * args_.query_stride;
    const int64_t width = unit8_width(first_.n);
    for (int64_t i = 0; i < first_.k; ++i) {
      for (int64_t j = i * width; j < (i + 1) * width; j += kLanes) {
        const V product = mul(load(first_.product + j), set1(q[i]));
        store(folded_ + j, add(load(first_.weight + j), product));
      }
    }
    folded_now_ = folded_;
    quantise_first(folded_);
  }

  RECSTACK_INLINE void first(int64_t t, float* out) {
    if (!first_.int8) return fp32_.first(t, out);
    const int64_t padded = round_up(args_.positions, kUnitPositions);
    unit8_layer(first_, weights_, bias_,
                {.groups = groups_ + t * groups_of(first_.k),
                 .step = step_ + t,
                 .zero = step_ + padded + t,
                 .outliers = args_.outliers,
                 .outlier_count = args_.outlier_count,
                 .values = outliers_ + t,
                 .values_stride = padded},
                folded_now_, out);
  }

  RECSTACK_INLINE void later(const UnitLayer& layer, const float* x, float* out) {
    if (!layer.int8) return fp32_.later(layer, x, out);
    alignas(64) float step[kPanel], zero[kPanel];
    quantise_positions(x, layer.k, layer.range, nullptr, 0, elements_, step, zero);
    const UnitWeights8 weights(const_cast<float*>(layer.weight), layer.n, layer.k);
    unit8_layer(layer, weights, layer.bias, {elements_, step, zero}, nullptr, out);
  }

 private:
  RECSTACK_INLINE void quantise_first(const float* w) {
    quantise_outputs(w, first_.n, first_.k, args_.outliers, args_.outlier_count, weights_);
  }

  const UnitArgs& args_;
  const UnitLayer& first_;
  Unit<Fp32> fp32_;
  UnitWeights8 weights_;
  const float* step_;
  const float* outliers_;
  const int32_t* groups_;
  const float* bias_;
  const float* folded_now_;  // (k, width)
  alignas(64) float folded_[kUnitWeights];
  alignas(64) float packed_[kUnitWeights + 2 * kUnitWidth];
  alignas(64) int32_t elements_[kUnitWidth * kPanel];
};

void key_panels8(const UnitKeys& of) {
  alignas(64) float columns[kUnitWidth * kPanel];
  const int64_t padded = round_up(of.positions, kUnitPositions);
  float* step = of.panels;
  float* outliers = step + 2 * padded;
  int32_t* groups = reinterpret_cast<int32_t*>(outliers + of.outlier_count * padded);
  for (int64_t t = 0; t < of.positions; t += kPanel) {
    transpose_panel<kPanel>(of.keys + t * of.dim, of.dim, lesser(kPanel, of.positions - t), of.dim,
                            columns);
    quantise_positions(columns, of.dim, of.range, of.outliers, of.outlier_count,
                       groups + t * groups_of(of.dim), step + t, step + padded + t);
    for (int64_t o = 0; o < of.outlier_count; ++o) {
      for (int64_t i = 0; i < kPanel; i += kLanes) {
        store(outliers + o * padded + t + i, load(columns + of.outliers[o] * kPanel + i));
      }
    }
  }
}

void pack_later_unit8(const float* w, int64_t n, int64_t k, float* packed) {
  pack_unit8(w, n, k, packed);
  quantise_outputs(packed, n, k, nullptr, 0, UnitWeights8(packed, n, k));
}

}  // namespace

const UnitKernels int8_unit = {.packed_size = unit8_packed_size,
                               .pack = pack_unit8,
                               .pack_later = pack_later_unit8,
                               .key_panels = key_panels8,
                               .attention_unit = attention_unit<Unit8>};

}  // namespace recstack::RECSTACK_ISA_NS
