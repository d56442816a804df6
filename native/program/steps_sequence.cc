// Recurrences and attention over sequences. Projections are "linear" steps before these.
#include <algorithm>
#include <limits>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

// "recurrence": a GRU or AUGRU over all positions.
//   operands: xg (positions * 3 hidden), then attention (positions) if has_attention, then mask
//     (positions) if has_mask, scratch hg (3 hidden), scratch h (hidden), out.
//   ints = positions, hidden, has_attention, has_mask, whole sequence (0 or 1).
//   weights = weight_hh (3 hidden, hidden) and, when there is one, bias_hh.
class RecurrenceStep final : public Step {
 public:
  RecurrenceStep(const StepSpec& spec, const Kernels& kernels)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(spec.ints[0]),
        hidden_(spec.ints[1]),
        attention_(spec.ints[2] ? 1 : 0),
        mask_(spec.ints[3] ? 1 + attention_ : 0),
        sequence_(spec.ints[4] != 0),
        packed_(kernels.gemm.packed_size(3 * hidden_, hidden_)),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(3 * hidden_) : 0) {
    kernels.gemm.pack_f32(spec.weights[0].data, 3 * hidden_, hidden_, hidden_, packed_.data());
    if (bias_.size()) std::copy_n(spec.weights[1].data, 3 * hidden_, bias_.data());
  }

  Status run(const Context& c) const override {
    const int64_t entries = c.entries(scope);
    const Operand& xg = v_[0];
    const Operand& hg = v_[v_.size() - 3];
    const Operand& state = v_[v_.size() - 2];
    const Operand& out = v_.back();
    float* h = c.at(state);
    for (int64_t e = 0; e < entries; ++e) std::fill_n(h + e * state.stride, hidden_, 0.0f);
    for (int64_t t = 0; t < positions_; ++t) {
      c.kernels->gemm.gemm_f32({.x = h,
                                .rows = entries,
                                .k = hidden_,
                                .x_stride = state.stride,
                                .packed = packed_.data(),
                                .n = 3 * hidden_,
                                .bias = bias_.data(),
                                .activation = Activation::none,
                                .out = c.at(hg),
                                .out_stride = hg.stride});
      c.kernels->seq.gates_f32({.xg = c.at(xg) + t * 3 * hidden_,
                                .xg_stride = xg.stride,
                                .hg = c.at(hg),
                                .hg_stride = hg.stride,
                                .h = h,
                                .h_stride = state.stride,
                                .attention = attention_ ? c.at(v_[attention_]) + t : nullptr,
                                .attention_stride = attention_ ? v_[attention_].stride : 0,
                                .mask = mask_ ? c.at(v_[mask_]) + t : nullptr,
                                .mask_stride = mask_ ? v_[mask_].stride : 0,
                                .rows = entries,
                                .hidden = hidden_,
                                .out = h,
                                .out_stride = state.stride});
      if (sequence_) copy_state(entries, h, state.stride, c.at(out) + t * hidden_, out.stride);
    }
    if (!sequence_) copy_state(entries, h, state.stride, c.at(out), out.stride);
    return {};
  }

 private:
  void copy_state(int64_t entries, const float* h, int64_t h_stride, float* out,
                  int64_t out_stride) const {
    for (int64_t e = 0; e < entries; ++e) {
      std::copy_n(h + e * h_stride, hidden_, out + e * out_stride);
    }
  }

  std::vector<Operand> v_;
  int64_t positions_, hidden_;
  size_t attention_, mask_;  // positions among the operands; 0: none
  bool sequence_;
  AlignedFloats packed_;
  AlignedFloats bias_;
};

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
    for (int64_t e = 0; e < c.entries(scope); ++e) {
      const float* mask = c.at(v_[1]) + e * v_[1].stride;
      float* out = c.at(v_[2]) + e * v_[2].stride;
      const float* scores = c.at(v_[0]) + e * v_[0].stride;
      const bool any = std::any_of(mask, mask + positions_, [](float m) { return m != 0.0f; });
      if (!any) {
        std::fill_n(out, positions_, zero);
        continue;
      }
      c.kernels->act.where_f32(mask, 1, scores, 1, &masked, 0, positions_, out);
      if (softmax_) c.kernels->act.softmax_f32(out, positions_, out);
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
    c.kernels->seq.weighted_sum_f32(c.at(v_[0]), v_[0].stride, c.at(v_[1]), v_[1].stride,
                                    c.entries(scope), ints_[0], ints_[1], c.at(v_[2]),
                                    v_[2].stride);
    return {};
  }

 private:
  std::vector<Operand> v_;
  std::vector<int64_t> ints_;
};

}  // namespace

StepPtr make_sequence_step(const StepSpec& spec, const Kernels& kernels) {
  if (spec.kind == "recurrence") return std::make_unique<RecurrenceStep>(spec, kernels);
  if (spec.kind == "gru_gates") return std::make_unique<GatesStep>(spec);
  if (spec.kind == "attention_features") return std::make_unique<AttentionFeaturesStep>(spec);
  if (spec.kind == "mask_scores") return std::make_unique<MaskScoresStep>(spec);
  if (spec.kind == "weighted_sum") return std::make_unique<WeightedSumStep>(spec);
  return nullptr;
}

}  // namespace recstack
