// A GRU or AUGRU whose states meet their weights in int8.
#include "program/recurrent_step.h"

namespace recstack {
namespace {

// "recurrence8": a GatedStep; its scratch is 5 hidden wide: two states, and what a state gives the
// gates. Each state has its own range.
class Recurrence8Step final : public GatedStep {
 public:
  Recurrence8Step(const StepSpec& spec, const Kernels& kernels)
      : GatedStep(spec),
        packed_((kernels.gemm8.packed_size(3 * hidden_, hidden_, 0) + 3) / 4),
        layer_(kernels.gemm8.pack_s8(spec.weights[0].data, 3 * hidden_, hidden_, hidden_, nullptr,
                                     0, packed_.data())) {}

  Status run(const Context& c) const override {
    const int64_t rows = c.entries(scope);
    for (int64_t r = 0; r < rows; ++r) std::fill_n(state(c, -1).at(r), hidden_, 0.0f);
    const States to_gates = {c.at(scratch()) + 2 * hidden_, scratch().stride};
    for (int64_t t = 0; t < positions_; ++t) {
      const States old = state(c, t - 1);
      c.kernels->gemm8.gemm_u8s8({.x = old.data,
                                  .rows = rows,
                                  .x_stride = old.stride,
                                  .layer = &layer_,
                                  .first = 0,
                                  .n = 3 * hidden_,
                                  .range = nullptr,
                                  .bias = bias_.data(),
                                  .activation = Activation::none,
                                  .out = to_gates.data,
                                  .out_stride = to_gates.stride});
      apply_gates(c, t, old, to_gates);
    }
    return {};
  }

 private:
  struct States {
    float* data;
    int64_t stride;
    float* at(int64_t r) const { return data + r * stride; }
  };

  // Where all rows' states after position t lie; t = -1: the zeros before the first.
  States state(const Context& c, int64_t t) const {
    if (sequence_ && t >= 0) return {c.at(out()) + t * hidden_, out().stride};
    if (t + 1 == positions_) return {c.at(out()), out().stride};
    return {c.at(scratch()) + (t + 2) % 2 * hidden_, scratch().stride};
  }

  // Runs of rows that read the same entry of user-scope values go together.
  void apply_gates(const Context& c, int64_t t, const States& old, const States& to_gates) const {
    const int64_t rows = c.entries(scope);
    const States fresh = state(c, t);
    const bool spread_xg = spread(xg(), scope), spread_mask = mask_ && spread(*mask_, scope);
    for (int64_t r = 0, end; r < rows; r = end) {
      end = rows;
      if (spread_xg || spread_mask) {
        end = r + 1;
        while (end < rows && c.query_of_row[end] == c.query_of_row[r]) ++end;
      }
      c.kernels->seq.gates_f32(
          {.xg = c.entry(xg(), scope, r) + t * 3 * hidden_,
           .xg_stride = spread_xg ? 0 : xg().stride,
           .hg = to_gates.at(r),
           .hg_stride = to_gates.stride,
           .h = old.at(r),
           .h_stride = old.stride,
           .attention = attention_ ? c.entry(*attention_, scope, r) + t : nullptr,
           .attention_stride = attention_ ? attention_->stride : 0,
           .mask = mask_ ? c.entry(*mask_, scope, r) + t : nullptr,
           .mask_stride = mask_ && !spread_mask ? mask_->stride : 0,
           .rows = end - r,
           .hidden = hidden_,
           .out = fresh.at(r),
           .out_stride = fresh.stride});
    }
  }

  AlignedFloats packed_;
  PackedLayer8 layer_;
};

}  // namespace

StepPtr make_recurrence8_step(const StepSpec& spec, const Parts& parts) {
  return std::make_unique<Recurrence8Step>(spec, parts.kernels);
}

}  // namespace recstack
