// Recurrences over sequences. The input's projection is a "linear" step before.
#include <algorithm>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {
namespace {

size_t floats(int64_t bytes) { return static_cast<size_t>((bytes + 3) / 4); }

// "recurrence": a GRU or AUGRU over all positions.
//   operands: xg (positions * 3 hidden), then attention (positions) if has_attention, then mask
//     (positions) if has_mask, scratch (recurrence.h: state), out. Item steps read an xg and a mask
//     of user scope by query.
//   ints = positions, hidden, has_attention, has_mask, whole sequence (0 or 1), weight format.
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
        kernels_(kernels.seq.recurrence[spec.ints[5]]),
        packed_(floats(kernels_.packed_bytes(hidden_))),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(3 * hidden_) : 0) {
    kernels_.pack(spec.weights[0].data, hidden_, packed_.data());
    if (bias_.size()) std::copy_n(spec.weights[1].data, 3 * hidden_, bias_.data());
  }

  Status run(const Context& c) const override {
    const Operand& xg = v_[0];
    const Operand& state = v_[v_.size() - 2];
    const Operand& out = v_.back();
    kernels_.recurrence({.xg = c.at(xg),
                         .xg_stride = xg.stride,
                         .xg_entry_of_row = c.entry_of_row(xg, scope),
                         .packed = packed_.data(),
                         .bias = bias_.data(),
                         .attention = attention_ ? c.at(v_[attention_]) : nullptr,
                         .attention_stride = attention_ ? v_[attention_].stride : 0,
                         .mask = mask_ ? c.at(v_[mask_]) : nullptr,
                         .mask_stride = mask_ ? v_[mask_].stride : 0,
                         .mask_entry_of_row = mask_ ? c.entry_of_row(v_[mask_], scope) : nullptr,
                         .rows = c.entries(scope),
                         .positions = positions_,
                         .hidden = hidden_,
                         .sequence = sequence_,
                         .out = c.at(out),
                         .out_stride = out.stride,
                         .state = c.at(state),
                         .state_stride = state.stride});
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t positions_, hidden_;
  size_t attention_, mask_;  // positions among the operands; 0: none
  bool sequence_;
  const RecurrenceKernels& kernels_;
  AlignedFloats packed_;
  AlignedFloats bias_;
};

// "rnn": a plain tanh RNN over all positions.
//   operands: x (positions, dim), then start (hidden) if has_start, scratch (rnn.h: state), out.
//   ints = positions, dim, hidden, has_start, whole sequence (0 or 1), weight format.
//   weights = weight (hidden, dim + hidden) and, when there is one, bias (hidden).
class RnnStep final : public Step {
 public:
  RnnStep(const StepSpec& spec, const Kernels& kernels)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(spec.ints[0]),
        dim_(spec.ints[1]),
        hidden_(spec.ints[2]),
        has_start_(spec.ints[3] != 0),
        sequence_(spec.ints[4] != 0),
        kernels_(kernels.seq.rnn[spec.ints[5]]),
        packed_(floats(kernels_.packed_bytes(hidden_, dim_))),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(hidden_) : 0) {
    kernels_.pack(spec.weights[0].data, hidden_, dim_, packed_.data());
    if (bias_.size()) std::copy_n(spec.weights[1].data, hidden_, bias_.data());
  }

  Status run(const Context& c) const override {
    const Operand& x = v_[0];
    const Operand& out = v_.back();
    const Operand& state = v_[v_.size() - 2];
    kernels_.rnn({.x = c.at(x),
                  .x_stride = x.stride,
                  .dim = dim_,
                  .packed = packed_.data(),
                  .bias = bias_.data(),
                  .start = has_start_ ? c.at(v_[1]) : nullptr,
                  .start_stride = has_start_ ? v_[1].stride : 0,
                  .rows = c.entries(scope),
                  .positions = positions_,
                  .hidden = hidden_,
                  .sequence = sequence_,
                  .out = c.at(out),
                  .out_stride = out.stride,
                  .state = c.at(state),
                  .state_stride = state.stride});
    return {};
  }

 private:
  std::vector<Operand> v_;
  int64_t positions_, dim_, hidden_;
  bool has_start_, sequence_;
  const RnnKernels& kernels_;
  AlignedFloats packed_;
  AlignedFloats bias_;
};

}  // namespace

StepPtr make_recurrence_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "recurrence") return std::make_unique<RecurrenceStep>(spec, parts.kernels);
  if (spec.kind == "rnn") return std::make_unique<RnnStep>(spec, parts.kernels);
  return nullptr;
}

}  // namespace recstack
