// Cells, and what stands around the attention unit. Operands of user scope that item steps read by
// query: keys of "weighted_sum", the mask of "mask_scores".
#include <algorithm>
#include <limits>

#include "program/step.h"

namespace recstack {
namespace {

// "gru_gates": one step of a cell. operands xg, hg, h, out; ints = hidden.
class GatesStep final : public Step {
 public:
  explicit GatesStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), hidden_(spec.ints[0]) {}

  Status run(const Context& c) const override {
    c.kernels->seq.gates_f32({.xg = c.at(v_[0]),
                              .xg_stride = v_[0].stride,
                              .hg = c.at(v_[1]),
                              .hg_stride = v_[1].stride,
                              .h = c.at(v_[2]),
                              .h_stride = v_[2].stride,
                              .attention = nullptr,
                              .attention_stride = 0,
                              .mask = nullptr,
                              .mask_stride = 0,
                              .rows = c.entries(scope),
                              .hidden = hidden_,
                              .out = c.at(v_[3]),
                              .out_stride = v_[3].stride});
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t hidden_;
};

// "attention_features": operands query, keys, out (dense, its buffer's stride is its width); ints =
// positions, dim, feature bits.
class AttentionFeaturesStep final : public Step {
 public:
  explicit AttentionFeaturesStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    c.kernels->seq.attention_features_f32(c.at(v_[0]), v_[0].stride, c.at(v_[1]), v_[1].stride,
                                          c.entries(scope), ints_[0], ints_[1],
                                          static_cast<uint32_t>(ints_[2]), c.at(v_[2]));
    return {};
  }

 private:
  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
};

// "mask_scores": operands scores, mask, out; ints = positions, softmax (0 or 1). Masked scores
// become 0; with softmax the rest are normalised, and no unmasked position gives zeros.
class MaskScoresStep final : public Step {
 public:
  explicit MaskScoresStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), positions_(spec.ints[0]), softmax_(spec.ints[1]) {}

  Status run(const Context& c) const override {
    const float masked = softmax_ ? -std::numeric_limits<float>::infinity() : 0.0f;
    const float zero = 0.0f;
    const int32_t* entry_of = c.entry_of_row(v_[1], scope);
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      const float* mask = c.at(v_[1]) + (entry_of == nullptr ? e : entry_of[e]) * v_[1].stride;
      float* out = c.at(v_[2]) + e * v_[2].stride;
      const float* scores = c.at(v_[0]) + e * v_[0].stride;
      const bool any = std::any_of(mask, mask + positions_, [](float m) { return m != 0.0f; });
      if (!any) {
        std::fill_n(out, positions_, zero);
        continue;
      }
      c.kernels->act.where_f32(mask, 1, scores, 1, &masked, 0, positions_, out);
      if (softmax_) c.kernels->act.softmax_f32(out, positions_, 1, out);
    }
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t positions_;
  bool softmax_;
};

// "weighted_sum": operands scores, keys, out; ints = positions, dim.
class WeightedSumStep final : public Step {
 public:
  explicit WeightedSumStep(const StepSpec& spec)
      : Step(spec.scope), v_(spec.operands), ints_(spec.ints) {}

  Status run(const Context& c) const override {
    c.kernels->seq.weighted_sum_f32({.scores = c.at(v_[0]),
                                     .scores_stride = v_[0].stride,
                                     .keys = c.at(v_[1]),
                                     .keys_stride = v_[1].stride,
                                     .entry_of_row = c.entry_of_row(v_[1], scope),
                                     .rows = c.entries(scope),
                                     .positions = ints_[0],
                                     .dim = ints_[1],
                                     .out = c.at(v_[2]),
                                     .out_stride = v_[2].stride});
    return {};
  }

 private:
  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
};

}  // namespace

StepPtr make_sequence_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "gru_gates") return std::make_unique<GatesStep>(spec);
  if (spec.kind == "attention_features") return std::make_unique<AttentionFeaturesStep>(spec);
  if (spec.kind == "mask_scores") return std::make_unique<MaskScoresStep>(spec);
  if (spec.kind == "weighted_sum") return std::make_unique<WeightedSumStep>(spec);
  if (spec.kind == "recurrence8") return make_recurrence8_step(spec, parts);
  if (StepPtr made = make_recurrence_step(spec, parts)) return made;
  return make_unit_step(spec, parts);
}

}  // namespace recstack
