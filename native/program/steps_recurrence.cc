// Recurrences over sequences. The input's projection is a "linear" step before.
#include "program/recurrent_step.h"

namespace recstack {
namespace {

size_t floats(int64_t bytes) { return static_cast<size_t>((bytes + 3) / 4); }

// "recurrence": a GatedStep; its scratch as recurrence.h has `state`, its last int the weight
// format.
class RecurrenceStep final : public GatedStep {
 public:
  RecurrenceStep(const StepSpec& spec, const Kernels& kernels)
      : GatedStep(spec),
        kernels_(kernels.seq.recurrence[spec.ints[5]]),
        packed_(floats(kernels_.packed_bytes(hidden_))) {
    kernels_.pack(spec.weights[0].data, hidden_, packed_.data());
  }

  Status run(const Context& c) const override {
    kernels_.recurrence({.xg = c.at(xg()),
                         .xg_stride = xg().stride,
                         .xg_entry_of_row = c.entry_of_row(xg(), scope),
                         .packed = packed_.data(),
                         .bias = bias_.data(),
                         .attention = attention_ ? c.at(*attention_) : nullptr,
                         .attention_stride = attention_ ? attention_->stride : 0,
                         .mask = mask_ ? c.at(*mask_) : nullptr,
                         .mask_stride = mask_ ? mask_->stride : 0,
                         .mask_entry_of_row = mask_ ? c.entry_of_row(*mask_, scope) : nullptr,
                         .rows = c.entries(scope),
                         .positions = positions_,
                         .hidden = hidden_,
                         .sequence = sequence_,
                         .out = c.at(out()),
                         .out_stride = out().stride,
                         .state = c.at(scratch()),
                         .state_stride = scratch().stride});
    return {};
  }

 private:
  const RecurrenceKernels& kernels_;
  AlignedFloats packed_;
};

// "rnn": a plain tanh RNN over all positions.
//   operands: x (positions, dim), then start (hidden) if has_start, scratch (rnn.h: state), out.
//   ints = positions, dim, hidden, has_start, whole sequence (0 or 1), weight format.
//   weights = weight (hidden, dim + hidden) and, when there is one, bias (hidden).
class RnnStep final : public RecurrentStep {
 public:
  RnnStep(const StepSpec& spec, const Kernels& kernels)
      : RecurrentStep(spec, spec.ints[0], spec.ints[2], spec.ints[4] != 0, spec.ints[2]),
        dim_(spec.ints[1]),
        start_(spec.ints[3] ? &v_[1] : nullptr),
        kernels_(kernels.seq.rnn[spec.ints[5]]),
        packed_(floats(kernels_.packed_bytes(hidden_, dim_))) {
    kernels_.pack(spec.weights[0].data, hidden_, dim_, packed_.data());
  }

  Status run(const Context& c) const override {
    kernels_.rnn({.x = c.at(v_[0]),
                  .x_stride = v_[0].stride,
                  .dim = dim_,
                  .packed = packed_.data(),
                  .bias = bias_.data(),
                  .start = start_ ? c.at(*start_) : nullptr,
                  .start_stride = start_ ? start_->stride : 0,
                  .rows = c.entries(scope),
                  .positions = positions_,
                  .hidden = hidden_,
                  .sequence = sequence_,
                  .out = c.at(out()),
                  .out_stride = out().stride,
                  .state = c.at(scratch()),
                  .state_stride = scratch().stride});
    return {};
  }

 private:
  const int64_t dim_;
  const Operand* const start_;  // null: zeros
  const RnnKernels& kernels_;
  AlignedFloats packed_;
};

}  // namespace

StepPtr make_recurrence_step(const StepSpec& spec, const Parts& parts) {
  if (spec.kind == "recurrence") return std::make_unique<RecurrenceStep>(spec, parts.kernels);
  if (spec.kind == "rnn") return std::make_unique<RnnStep>(spec, parts.kernels);
  return nullptr;
}

}  // namespace recstack
