// DIN's attention unit: keys as panels once per entry, then all rows' scores.
#include <algorithm>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

// "key_panels": operands keys, out; ints = positions, dim.
class KeyPanelsStep final : public Step {
 public:
  explicit KeyPanelsStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      c.kernels->seq.unit[0].key_panels_f32(c.at(v_[0]) + e * v_[0].stride, ints_[0], ints_[1],
                                            c.at(v_[1]) + e * v_[1].stride);
    }
    return {};
  }

 private:
  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
};

// "attention_unit": operands query, panels, the first layer's bias if has_bias, out. Item steps
// read panels of user scope by query.
//   ints = positions, dim, has_bias, sum (0 scores, 1 sum), format (0 fp32, 1 bf16), then per layer
//     n, activation and whether it has a product (the first) or a bias (the others).
//   weights, per layer: weight (n, k), then the product's weights or the bias, then slope (n,) of
//     prelu and dice, scale and shift (n,) of dice.
class UnitStep final : public Step {
 public:
  UnitStep(const StepSpec& spec, const Kernels& kernels)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(spec.ints[0]),
        has_bias_(spec.ints[2]),
        result_(spec.ints[3] ? UnitResult::sum : UnitResult::scores),
        kernels_(kernels.seq.unit[spec.ints[4]]) {
    constexpr size_t kFirst = 5;
    size_t next = 0;
    int64_t k = spec.ints[1];
    for (size_t i = kFirst; i < spec.ints.size(); i += 3) {
      const int64_t n = spec.ints[i];
      UnitLayer layer = {.n = n,
                         .k = k,
                         .weight = packed(spec.weights[next++], n, k, i > kFirst),
                         .product = nullptr,
                         .bias = nullptr,
                         .activation = static_cast<UnitActivation>(spec.ints[i + 1]),
                         .slope = nullptr,
                         .scale = nullptr,
                         .shift = nullptr};
      if (spec.ints[i + 2] && i == kFirst)
        layer.product = packed(spec.weights[next++], n, k, false);
      if (spec.ints[i + 2] && i > kFirst) layer.bias = copied(spec.weights[next++], n);
      if (layer.activation >= UnitActivation::prelu) layer.slope = copied(spec.weights[next++], n);
      if (layer.activation == UnitActivation::dice) {
        layer.scale = copied(spec.weights[next++], n);
        layer.shift = copied(spec.weights[next++], n);
      }
      layers_.push_back(layer);
      k = n;
    }
  }

  Status run(const Context& c) const override {
    kernels_.attention_unit({.query = c.at(v_[0]),
                             .query_stride = v_[0].stride,
                             .panels = c.at(v_[1]),
                             .panels_stride = v_[1].stride,
                             .entry_of_row = c.entry_of_row(v_[1], scope),
                             .bias = has_bias_ ? c.at(v_[2]) : nullptr,
                             .bias_stride = has_bias_ ? v_[2].stride : 0,
                             .layers = layers_.data(),
                             .layer_count = static_cast<int64_t>(layers_.size()),
                             .rows = c.entries(scope),
                             .positions = positions_,
                             .result = result_,
                             .out = c.at(v_.back()),
                             .out_stride = v_.back().stride});
    return {};
  }

 private:
  const float* packed(const WeightView& w, int64_t n, int64_t k, bool later) {
    AlignedFloats& to = held_.emplace_back(kernels_.packed_size(n, k));
    (later ? kernels_.pack_later : kernels_.pack)(w.data, n, k, to.data());
    return to.data();
  }
  const float* copied(const WeightView& w, int64_t n) {
    AlignedFloats& to = held_.emplace_back(static_cast<size_t>(n));
    std::copy_n(w.data, n, to.data());
    return to.data();
  }

  std::vector<Operand> v_;
  int64_t positions_;
  bool has_bias_;
  UnitResult result_;
  const UnitKernels& kernels_;
  std::vector<AlignedFloats> held_;
  std::vector<UnitLayer> layers_;
};

}  // namespace

StepPtr make_unit_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "key_panels") return std::make_unique<KeyPanelsStep>(spec);
  if (spec.kind == "attention_unit") return std::make_unique<UnitStep>(spec, parts.kernels);
  return nullptr;
}

}  // namespace recstack
