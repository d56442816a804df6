// Element-wise functions, normalisations and reductions over entries.
//
// A step handles an entry as `runs` of `n` contiguous elements. Where entries lie densely one
// behind the other and one run covers an entry, all entries of the tile are one run.
#include <algorithm>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

AlignedFloats copy_of(const WeightView& weight) {
  int64_t n = 1;
  for (int64_t size : weight.shape) n *= size;
  AlignedFloats out(static_cast<size_t>(n));
  std::copy_n(weight.data, n, out.data());
  return out;
}

class ElementwiseStep : public Step {
 public:
  explicit ElementwiseStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), ints_(spec.ints), floats_(spec.floats) {
    for (const WeightView& w : spec.weights) weights_.push_back(copy_of(w));
  }

 protected:
  const float* in(const Context& c, size_t i, int64_t entry) const {
    return c.entry(v_[i], scope, entry);
  }
  float* out(const Context& c, int64_t entry) const {
    return c.at(v_.back()) + entry * v_.back().stride;
  }
  bool dense(int64_t n) const {
    return std::all_of(v_.begin(), v_.end(),
                       [=, this](const Operand& v) { return v.stride == n && !spread(v, scope); });
  }
  const float* weight(size_t i) const { return i < weights_.size() ? weights_[i].data() : nullptr; }

  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
  std::vector<double> floats_;
  std::vector<AlignedFloats> weights_;
};

// "unary": operands x, out; ints = function, n. "clamp": ints = n; floats = low, high.
class UnaryStep final : public ElementwiseStep {
 public:
  explicit UnaryStep(const StepSpec& spec)
      : ElementwiseStep(spec), clamp_(spec.kind == "clamp"), n_(spec.ints.back()) {}

  Status run(const Context& c) const override {
    const int64_t entries = c.entries(scope);
    if (dense(n_)) {
      apply(c, in(c, 0, 0), entries * n_, out(c, 0));
    } else {
      for (int64_t e = 0; e < entries; ++e) apply(c, in(c, 0, e), n_, out(c, e));
    }
    return {};
  }

 private:
  void apply(const Context& c, const float* x, int64_t n, float* out) const {
    if (clamp_) {
      c.kernels->act.clamp_f32(x, n, static_cast<float>(floats_[0]), static_cast<float>(floats_[1]),
                               out);
    } else {
      c.kernels->act.unary_f32(static_cast<Unary>(ints_[0]), x, n, out);
    }
  }
  bool clamp_;
  int64_t n_;
};

// "binary": operands a, b, out; ints = function, n, step of a, step of b (0 or 1), runs, then the
// offsets of a, b and out inside an entry for each run.
class BinaryStep final : public ElementwiseStep {
 public:
  explicit BinaryStep(const StepSpec& spec)
      : ElementwiseStep(spec), fn_(static_cast<Binary>(spec.ints[0])), n_(spec.ints[1]) {}

  Status run(const Context& c) const override {
    const int64_t entries = c.entries(scope);
    const auto& kernel = c.kernels->act.binary_f32;
    const int64_t runs = ints_[4];
    const bool steps = ints_[2] == 1 && ints_[3] == 1;
    if (runs == 1 && steps && dense(n_)) {
      kernel(fn_, in(c, 0, 0), 1, in(c, 1, 0), 1, entries * n_, out(c, 0));
      return {};
    }
    for (int64_t e = 0; e < entries; ++e) {
      for (int64_t r = 0; r < runs; ++r) {
        const int64_t* at = &ints_[5 + 3 * r];
        kernel(fn_, in(c, 0, e) + at[0], ints_[2], in(c, 1, e) + at[1], ints_[3], n_,
               out(c, e) + at[2]);
      }
    }
    return {};
  }

 private:
  Binary fn_;
  int64_t n_;
};

// "where": operands condition, a, b, out; ints = n, three steps, runs, then four offsets per run.
class WhereStep final : public ElementwiseStep {
 public:
  using ElementwiseStep::ElementwiseStep;

  Status run(const Context& c) const override {
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      for (int64_t r = 0; r < ints_[4]; ++r) {
        const int64_t* at = &ints_[5 + 4 * r];
        c.kernels->act.where_f32(in(c, 0, e) + at[0], ints_[1], in(c, 1, e) + at[1], ints_[2],
                                 in(c, 2, e) + at[2], ints_[3], ints_[0], out(c, e) + at[3]);
      }
    }
    return {};
  }
};

// Steps that treat each of an entry's runs alike: operands x, out; ints = n, runs, ...
//   "softmax"; "layer_norm": ints + has gamma, has beta, floats = eps, weights = gamma, beta;
//   "affine": weights = scale, shift (n,); "prelu": ints + slope step, weights = slope;
//   "dice": weights = scale, shift, alpha (n,).
class RunStep final : public ElementwiseStep {
 public:
  enum class What { softmax, layer_norm, affine, prelu, dice };
  RunStep(const StepSpec& spec, What what)
      : ElementwiseStep(spec), what_(what), n_(spec.ints[0]), runs_(spec.ints[1]) {}

  Status run(const Context& c) const override {
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      if (what_ == What::softmax) {
        c.kernels->act.softmax_f32(in(c, 0, e), n_, runs_, out(c, e));
        continue;
      }
      for (int64_t r = 0; r < runs_; ++r) apply(c, in(c, 0, e) + r * n_, out(c, e) + r * n_);
    }
    return {};
  }

 private:
  void apply(const Context& c, const float* x, float* y) const {
    const ActKernels& act = c.kernels->act;
    switch (what_) {
      case What::softmax:
        return;  // all runs at once
      case What::layer_norm:
        return act.layer_norm_f32(x, n_, ints_[2] ? weight(0) : nullptr,
                                  ints_[3] ? weight(ints_[2] ? 1 : 0) : nullptr,
                                  static_cast<float>(floats_[0]), y);
      case What::affine:
        return act.affine_f32(x, weight(0), weight(1), n_, y);
      case What::prelu:
        return act.prelu_f32(x, weight(0), ints_[2], n_, y);
      case What::dice:
        return act.dice_f32(x, weight(0), weight(1), weight(2), n_, y);
    }
  }
  What what_;
  int64_t n_, runs_;
};

// "reduce": operands x, out; ints = function, outer, m, inner: the entry is (outer, m, inner) and m
// goes away.
class ReduceStep final : public ElementwiseStep {
 public:
  using ElementwiseStep::ElementwiseStep;

  Status run(const Context& c) const override {
    const auto fn = static_cast<Reduce>(ints_[0]);
    const int64_t outer = ints_[1], m = ints_[2], inner = ints_[3];
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      const float* x = in(c, 0, e);
      float* y = out(c, e);
      for (int64_t o = 0; o < outer; ++o, x += m * inner, y += inner) {
        if (inner == 1) {
          *y = c.kernels->act.reduce_f32(fn, x, m, 1);
        } else {
          c.kernels->act.reduce_columns_f32(fn, x, m, inner, inner, y);
        }
      }
    }
    return {};
  }
};

}  // namespace

StepPtr make_elementwise_step(const StepSpec& spec, const Parts&) {
  using What = RunStep::What;
  if (spec.kind == "unary" || spec.kind == "clamp") return std::make_unique<UnaryStep>(spec);
  if (spec.kind == "binary") return std::make_unique<BinaryStep>(spec);
  if (spec.kind == "where") return std::make_unique<WhereStep>(spec);
  if (spec.kind == "reduce") return std::make_unique<ReduceStep>(spec);
  if (spec.kind == "softmax") return std::make_unique<RunStep>(spec, What::softmax);
  if (spec.kind == "layer_norm") return std::make_unique<RunStep>(spec, What::layer_norm);
  if (spec.kind == "affine") return std::make_unique<RunStep>(spec, What::affine);
  if (spec.kind == "prelu") return std::make_unique<RunStep>(spec, What::prelu);
  if (spec.kind == "dice") return std::make_unique<RunStep>(spec, What::dice);
  return nullptr;
}

}  // namespace recstack
