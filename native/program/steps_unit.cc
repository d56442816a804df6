// DIN's attention unit: keys as panels once per entry, then all rows' scores.
#include <algorithm>
#include <deque>
#include <optional>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

constexpr int64_t kInt8 = 2;  // of SeqKernels::unit

RowScale8 range_of(const Kernels& kernels, const double* ends) {
  return kernels.gemm8.row_scale(static_cast<float>(ends[0]), static_cast<float>(ends[1]));
}

// "key_panels": operands keys, out; ints = positions, dim, int8 (0 or 1), has a range (0 or 1),
// then the columns that are outliers, ascending. floats = low and high of the range.
class KeyPanelsStep final : public Step {
 public:
  KeyPanelsStep(const StepSpec& spec, const Kernels& kernels)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(spec.ints[0]),
        dim_(spec.ints[1]),
        kernels_(kernels.seq.unit[spec.ints[2] ? kInt8 : 0]),
        outliers_(spec.ints.begin() + 4, spec.ints.end()) {
    if (spec.ints[3]) range_ = range_of(kernels, spec.floats.data());
  }

  Status run(const Context& c) const override {
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      kernels_.key_panels({.keys = c.at(v_[0]) + e * v_[0].stride,
                           .positions = positions_,
                           .dim = dim_,
                           .panels = c.at(v_[1]) + e * v_[1].stride,
                           .range = range_ ? &*range_ : nullptr,
                           .outliers = outliers_.data(),
                           .outlier_count = static_cast<int64_t>(outliers_.size())});
    }
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t positions_, dim_;
  const UnitKernels& kernels_;
  std::vector<int32_t> outliers_;
  std::optional<RowScale8> range_;
};

// "attention_unit": operands query, panels or plain keys, the first layer's bias if has_bias, out.
// Item steps read panels of user scope by query.
//   ints = positions, dim, plain keys (0 or 1), has_bias, result (0 scores, 1 sum),
//     format (0 fp32, 1 bf16, 2 int8), layers,
//     then per layer n, activation, whether it has a product (the first) or a bias (the others),
//     and of a unit in int8 whether it is (0: fp32, 1: int8, 2: with a range); then the outliers of
//     an int8 first layer.
//   floats = low and high of each range.
//   weights, per layer: weight (n, k), then the product's weights or the bias, then slope (n,) of
//     prelu and dice, scale and shift (n,) of dice.
class UnitStep final : public Step {
 public:
  UnitStep(const StepSpec& spec, const Kernels& kernels)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(spec.ints[0]),
        plain_keys_(spec.ints[2] != 0),
        has_bias_(spec.ints[3] != 0),
        result_(static_cast<UnitResult>(spec.ints[4])),
        kernels_(kernels.seq.unit[spec.ints[5]]) {
    constexpr size_t kFirst = 7;
    size_t next = 0, range = 0;
    int64_t k = spec.ints[1];
    const size_t end = kFirst + 4 * static_cast<size_t>(spec.ints[6]);
    for (size_t i = kFirst; i < end; i += 4) {
      const int64_t n = spec.ints[i], int8 = spec.ints[i + 3];
      const auto pack = [&](const WeightView& w, bool later) {
        return packed(kernels.seq.unit[int8 ? kInt8 : spec.ints[5] % kInt8], w, n, k, later);
      };
      UnitLayer layer = {.n = n,
                         .k = k,
                         .weight = pack(spec.weights[next++], i > kFirst),
                         .product = nullptr,
                         .bias = nullptr,
                         .activation = static_cast<UnitActivation>(spec.ints[i + 1]),
                         .slope = nullptr,
                         .scale = nullptr,
                         .shift = nullptr,
                         .int8 = int8 != 0};
      if (int8 == 2) {
        layer.range = &ranges_.emplace_back(range_of(kernels, spec.floats.data() + range));
        range += 2;
      }
      if (spec.ints[i + 2] && i == kFirst) layer.product = pack(spec.weights[next++], false);
      if (spec.ints[i + 2] && i > kFirst) layer.bias = copied(spec.weights[next++], n);
      if (layer.activation >= UnitActivation::prelu) layer.slope = copied(spec.weights[next++], n);
      if (layer.activation == UnitActivation::dice) {
        layer.scale = copied(spec.weights[next++], n);
        layer.shift = copied(spec.weights[next++], n);
      }
      layers_.push_back(layer);
      k = n;
    }
    outliers_.assign(spec.ints.begin() + static_cast<ptrdiff_t>(end), spec.ints.end());
  }

  Status run(const Context& c) const override {
    kernels_.attention_unit({.query = c.at(v_[0]),
                             .query_stride = v_[0].stride,
                             .panels = c.at(v_[1]),
                             .panels_stride = v_[1].stride,
                             .plain_keys = plain_keys_,
                             .entry_of_row = c.entry_of_row(v_[1], scope),
                             .bias = has_bias_ ? c.at(v_[2]) : nullptr,
                             .bias_stride = has_bias_ ? v_[2].stride : 0,
                             .layers = layers_.data(),
                             .layer_count = static_cast<int64_t>(layers_.size()),
                             .rows = c.entries(scope),
                             .positions = positions_,
                             .result = result_,
                             .out = c.at(v_.back()),
                             .out_stride = v_.back().stride,
                             .outliers = outliers_.data(),
                             .outlier_count = static_cast<int64_t>(outliers_.size())});
    return {};
  }

 private:
  const float* packed(const UnitKernels& kernels, const WeightView& w, int64_t n, int64_t k,
                      bool later) {
    AlignedFloats& to = held_.emplace_back(kernels.packed_size(n, k));
    (later ? kernels.pack_later : kernels.pack)(w.data, n, k, to.data());
    return to.data();
  }
  const float* copied(const WeightView& w, int64_t n) {
    AlignedFloats& to = held_.emplace_back(static_cast<size_t>(n));
    std::copy_n(w.data, n, to.data());
    return to.data();
  }

  std::vector<Operand> v_;
  int64_t positions_;
  bool plain_keys_;
  bool has_bias_;
  UnitResult result_;
  const UnitKernels& kernels_;
  std::vector<AlignedFloats> held_;
  std::deque<RowScale8> ranges_;  // where the layers find theirs
  std::vector<UnitLayer> layers_;
  std::vector<int32_t> outliers_;
};

}  // namespace

StepPtr make_unit_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "key_panels") return std::make_unique<KeyPanelsStep>(spec, parts.kernels);
  if (spec.kind == "attention_unit") return std::make_unique<UnitStep>(spec, parts.kernels);
  return nullptr;
}

}  // namespace recstack
