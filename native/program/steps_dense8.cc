// Dense layers in int8.
#include <algorithm>
#include <vector>

#include "core/aligned.h"
#include "program/layer_step.h"

namespace recstack {
namespace {

constexpr size_t kOwnInts = 5;  // after these the outliers follow

// "linear8": a LayerStep in int8. After LayerStep's ints: fixed range (0 or 1), then the columns of
// x that are outliers, ascending. floats = low and high of a fixed range. weights as "linear".
class Linear8Step final : public LayerStep {
 public:
  Linear8Step(const StepSpec& spec, const Parts& parts)
      : LayerStep(spec, parts.kernels.gemm8.panel),
        packed_floats_(linear8_floats(spec, parts.kernels)),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(n_) : 0) {
    const Gemm8Kernels& kernels = parts.kernels.gemm8;
    const std::vector<int32_t> outliers(spec.ints.begin() + kOwnInts, spec.ints.end());
    layer_ =
        kernels.pack_s8(spec.weights[0].data, n_, k_, k_, outliers.data(),
                        static_cast<int64_t>(outliers.size()), parts.weights.take(packed_floats_));
    if (spec.ints[4] != 0) {
      range_ =
          kernels.row_scale(static_cast<float>(spec.floats[0]), static_cast<float>(spec.floats[1]));
    }
    if (bias_.size()) std::copy_n(spec.weights[1].data, n_, bias_.data());
  }

  int64_t packed_floats() const override { return static_cast<int64_t>(packed_floats_); }

 private:
  void multiply(const Context& c, const Rows& of, int64_t begin, int64_t end) const override {
    c.kernels->gemm8.gemm_u8s8({.x = of.x,
                                .rows = of.rows,
                                .x_stride = of.x_stride,
                                .layer = &layer_,
                                .first = begin,
                                .n = end - begin,
                                .range = range_ ? &*range_ : nullptr,
                                .bias = bias_.size() ? bias_.data() + begin : nullptr,
                                .activation = activation_,
                                .out = of.out + begin,
                                .out_stride = of.out_stride,
                                .start = start_ ? c.at(*start_) + begin : nullptr,
                                .start_stride = start_ ? start_->stride : 0,
                                .start_of_row = c.query_of_row});
  }

  size_t packed_floats_;
  PackedLayer8 layer_;
  std::optional<RowScale8> range_;
  AlignedFloats bias_;
};

}  // namespace

size_t linear8_floats(const StepSpec& spec, const Kernels& kernels) {
  const int64_t outliers = static_cast<int64_t>(spec.ints.size() - kOwnInts);
  const size_t bytes = kernels.gemm8.packed_size(spec.ints[2], spec.ints[1], outliers);
  return Arena::room((bytes + 3) / 4);
}

StepPtr make_linear8_step(const StepSpec& spec, const Parts& parts) {
  return std::make_unique<Linear8Step>(spec, parts);
}

}  // namespace recstack
