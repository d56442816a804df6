// Dense layers and interactions.
#include <algorithm>

#include "core/aligned.h"
#include "program/layer_step.h"

namespace recstack {
namespace {

// "linear": a LayerStep; after LayerStep's ints the weight format; weights = weight (n, k) and,
// when there is one, bias (n,).
class LinearStep final : public LayerStep {
 public:
  LinearStep(const StepSpec& spec, const Parts& parts)
      : LayerStep(spec, kernels_of(spec, parts.kernels).panel),
        kernels_(kernels_of(spec, parts.kernels)),
        packed_floats_(packed_floats(spec, parts.kernels)),
        packed_(parts.weights.take(packed_floats_)),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(n_) : 0) {
    kernels_.pack(spec.weights[0].data, n_, k_, k_, packed_);
    if (bias_.size()) std::copy_n(spec.weights[1].data, n_, bias_.data());
  }

  int64_t packed_floats() const override { return static_cast<int64_t>(packed_floats_); }

  static size_t packed_floats(const StepSpec& spec, const Kernels& kernels) {
    const size_t bytes = kernels_of(spec, kernels).packed_bytes(spec.ints[2], spec.ints[1]);
    return (bytes + sizeof(float) - 1) / sizeof(float);
  }

 private:
  static const LayerKernels& kernels_of(const StepSpec& spec, const Kernels& kernels) {
    return kernels.gemm.of(static_cast<WeightFormat>(spec.ints[4]));
  }

  void multiply(const Context& c, const Rows& of, int64_t begin, int64_t end) const override {
    kernels_.gemm(
        {.x = of.x,
         .rows = of.rows,
         .k = k_,
         .x_stride = of.x_stride,
         .packed = reinterpret_cast<const char*>(packed_) + kernels_.packed_bytes(begin, k_),
         .n = end - begin,
         .bias = bias_.size() ? bias_.data() + begin : nullptr,
         .activation = activation_,
         .out = of.out + begin,
         .out_stride = of.out_stride,
         .start = start_ ? c.at(*start_) + begin : nullptr,
         .start_stride = start_ ? start_->stride : 0,
         .start_of_row = c.query_of_row});
  }

  const LayerKernels& kernels_;
  size_t packed_floats_;
  float* packed_;
  AlignedFloats bias_;
};

// "dot": operands x, out; ints = features, dim, order (0 lower, 1 upper), self pairs (0 or 1).
class DotStep final : public Step {
 public:
  explicit DotStep(const StepSpec& spec)
      : Step(spec.scope), x_(spec.operands[0]), out_(spec.operands[1]), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    c.kernels->interact.dot_f32({.x = c.at(x_),
                                 .rows = c.entries(scope),
                                 .features = ints_[0],
                                 .dim = ints_[1],
                                 .x_stride = x_.stride,
                                 .order = ints_[2] ? PairOrder::upper : PairOrder::lower,
                                 .self_pairs = ints_[3] != 0,
                                 .out = c.at(out_),
                                 .out_stride = out_.stride});
    return {};
  }

 private:
  Operand x_, out_;
  std::vector<int64_t> ints_;
};

// "cross": operands x0, y, x, out; ints = n. out = x0 * y + x.
class CrossStep final : public Step {
 public:
  explicit CrossStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), n_(spec.ints[0]) {}

  Status run(const Context& c) const override {
    c.kernels->interact.cross_f32(c.at(v_[0]), v_[0].stride, c.at(v_[1]), v_[1].stride, c.at(v_[2]),
                                  v_[2].stride, c.entries(scope), n_, c.at(v_[3]), v_[3].stride);
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t n_;
};

// "matmul": operands a, b, out; ints = m, k, n, b transposed (0 or 1), batches, then for each of
// the batches the offsets of its a, b and out inside an entry.
class MatmulStep final : public Step {
 public:
  explicit MatmulStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    const int64_t m = ints_[0], k = ints_[1], n = ints_[2], batches = ints_[4];
    const int64_t b_row = ints_[3] ? 1 : n, b_col = ints_[3] ? k : 1;
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      const float* a = c.entry(v_[0], scope, e);
      const float* b = c.entry(v_[1], scope, e);
      float* out = c.at(v_[2]) + e * v_[2].stride;
      for (int64_t i = 0; i < batches; ++i) {
        const int64_t* at = &ints_[5 + 3 * i];
        c.kernels->gemm.matmul_f32(a + at[0], m, k, k, b + at[1], b_row, b_col, n, out + at[2], n);
      }
    }
    return {};
  }

 private:
  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
};

}  // namespace

size_t arena_floats(const StepSpec& spec, const Kernels& kernels) {
  if (spec.kind == "linear8") return linear8_floats(spec, kernels);
  if (spec.kind != "linear") return 0;
  return Arena::room(LinearStep::packed_floats(spec, kernels));
}

StepPtr make_dense_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "linear") return std::make_unique<LinearStep>(spec, parts);
  if (spec.kind == "linear8") return make_linear8_step(spec, parts);
  if (spec.kind == "dot") return std::make_unique<DotStep>(spec);
  if (spec.kind == "cross") return std::make_unique<CrossStep>(spec);
  if (spec.kind == "matmul") return std::make_unique<MatmulStep>(spec);
  return nullptr;
}

}  // namespace recstack
