// Steps that only move data.
#include <algorithm>
#include <cstring>

#include "program/step.h"

namespace recstack {
namespace {

// "copy": operands x, out; ints = rank, then sizes, steps of x and steps of out (rank of each).
class CopyStep final : public Step {
 public:
  explicit CopyStep(const StepSpec& spec)
      : Step(spec.scope),
        x_(spec.operands[0]),
        out_(spec.operands[1]),
        rank_(spec.ints[0]),
        sizes_(spec.ints.data() + 1, spec.ints.data() + 1 + rank_),
        x_steps_(spec.ints.data() + 1 + rank_, spec.ints.data() + 1 + 2 * rank_),
        out_steps_(spec.ints.data() + 1 + 2 * rank_, spec.ints.data() + 1 + 3 * rank_) {}

  Status run(const Context& c) const override {
    float* out = c.at(out_);
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      copy(c.entry(x_, scope, e), out + e * out_.stride, 0);
    }
    return {};
  }

 private:
  void copy(const float* x, float* out, int64_t axis) const {
    if (axis == rank_) {
      *out = *x;
      return;
    }
    const int64_t n = sizes_[axis], x_step = x_steps_[axis], out_step = out_steps_[axis];
    if (axis == rank_ - 1) {
      if (x_step == 1 && out_step == 1) {
        std::copy_n(x, n, out);
      } else {
        for (int64_t i = 0; i < n; ++i) out[i * out_step] = x[i * x_step];
      }
      return;
    }
    for (int64_t i = 0; i < n; ++i) copy(x + i * x_step, out + i * out_step, axis + 1);
  }

  Operand x_, out_;
  int64_t rank_;
  std::vector<int64_t> sizes_, x_steps_, out_steps_;
};

// "gather_user": operands x (of the user workspace or user_dense), out (of the item one); ints = n.
class GatherUserStep final : public Step {
 public:
  explicit GatherUserStep(const StepSpec& spec)
      : Step(spec.scope), x_(spec.operands[0]), out_(spec.operands[1]), n_(spec.ints[0]) {}

  Status run(const Context& c) const override {
    const float* x = c.at(x_);
    float* out = c.at(out_);
    for (int64_t r = 0; r < c.rows; ++r) {
      std::copy_n(x + c.query_of_row[r] * x_.stride, n_, out + r * out_.stride);
    }
    return {};
  }

 private:
  Operand x_, out_;
  int64_t n_;
};

// "index": operands x, out; ints = outer, axis size, inner, then the indices along the axis.
class IndexStep final : public Step {
 public:
  explicit IndexStep(const StepSpec& spec)
      : Step(spec.scope), x_(spec.operands[0]), out_(spec.operands[1]), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    const int64_t outer = ints_[0], size = ints_[1], inner = ints_[2];
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      const float* x = c.at(x_) + e * x_.stride;
      float* out = c.at(out_) + e * out_.stride;
      for (int64_t o = 0; o < outer; ++o, x += size * inner) {
        for (size_t i = 3; i < ints_.size(); ++i) {
          out = std::copy_n(x + ints_[i] * inner, inner, out);
        }
      }
    }
    return {};
  }

 private:
  Operand x_, out_;
  std::vector<int64_t> ints_;
};

}  // namespace

StepPtr make_move_step(const StepSpec& spec, const Parts&) {
  if (spec.kind == "copy") return std::make_unique<CopyStep>(spec);
  if (spec.kind == "gather_user") return std::make_unique<GatherUserStep>(spec);
  if (spec.kind == "index") return std::make_unique<IndexStep>(spec);
  return nullptr;
}

StepPtr make_step(const StepSpec& spec, const Parts& parts) {
  for (auto* make : {make_embedding_step, make_dense_step, make_sequence_step,
                     make_elementwise_step, make_move_step}) {
    if (StepPtr step = make(spec, parts)) return step;
  }
  return nullptr;
}

}  // namespace recstack
