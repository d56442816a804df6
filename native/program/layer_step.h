// What the dense layers of every format share: which rows and columns a call is to do.
#pragma once

#include <algorithm>
#include <optional>

#include "kernels/gemm/gemm.h"
#include "program/step.h"

namespace recstack {

// Operands x, out, or x, start, out; ints = inner rows per entry, k, n, activation, then the
// format's own. An item-scope step with one inner row may have `start`, a user-scope value (n,)
// that its rows' sums go on from, read in place.
class LayerStep : public Step {
 public:
  // panel: columns [j, n) for a multiple j of this are a layer of their own.
  LayerStep(const StepSpec& spec, int64_t panel)
      : Step(spec.scope),
        x_(spec.operands.front()),
        out_(spec.operands.back()),
        inner_(spec.ints[0]),
        k_(spec.ints[1]),
        n_(spec.ints[2]),
        activation_(static_cast<Activation>(spec.ints[3])),
        panel_(panel) {
    if (spec.operands.size() > 2) start_ = spec.operands[1];
  }

  bool divides() const override { return n_ * k_ >= kDivisibleWeights && n_ >= 2 * panel_; }

  Status run(const Context& c) const override {
    const int64_t entries = c.entries(scope);
    const float* x = c.at(x_);
    float* out = c.at(out_);
    if (inner_ == 1) {
      multiply_part(c, {x, entries, x_.stride, out, out_.stride});
    } else if (x_.stride == inner_ * k_ && out_.stride == inner_ * n_) {
      multiply_part(c, {x, entries * inner_, k_, out, n_});
    } else {
      for (int64_t e = 0; e < entries; ++e) {
        multiply_part(c, {x + e * x_.stride, inner_, k_, out + e * out_.stride, n_});
      }
    }
    return {};
  }

 protected:
  // Below this a meeting of the threads costs more than the half that it saves.
  static constexpr int64_t kDivisibleWeights = 16 << 10;

  struct Rows {
    const float* x;
    int64_t rows;
    int64_t x_stride;
    float* out;
    int64_t out_stride;
  };

  // Columns [begin, end) of these rows; `begin` is a multiple of the panel.
  virtual void multiply(const Context& c, const Rows& rows, int64_t begin, int64_t end) const = 0;

  const Operand x_, out_;
  std::optional<Operand> start_;
  const int64_t inner_, k_, n_;
  const Activation activation_;

 private:
  // This part's columns, whole panels of them.
  void multiply_part(const Context& c, const Rows& rows) const {
    const int64_t panels = (n_ + panel_ - 1) / panel_;
    const int64_t begin = c.share(panels, c.part) * panel_;
    const int64_t end = std::min(c.share(panels, c.part + 1) * panel_, n_);
    if (begin < end) multiply(c, rows, begin, end);
  }

  const int64_t panel_;
};

}  // namespace recstack
