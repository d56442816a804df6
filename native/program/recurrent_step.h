// What the recurrences of every kind and format share: operands and sizes.
#pragma once

#include <algorithm>

#include "core/aligned.h"
#include "program/step.h"

namespace recstack {

// The last operands are a scratch for states and out, which holds all states or the last one. A
// second weight is a bias.
class RecurrentStep : public Step {
 protected:
  RecurrentStep(const StepSpec& spec, int64_t positions, int64_t hidden, bool sequence,
                int64_t outputs)
      : Step(spec.scope),
        v_(spec.operands),
        positions_(positions),
        hidden_(hidden),
        sequence_(sequence),
        bias_(spec.weights.size() > 1 ? static_cast<size_t>(outputs) : 0) {
    if (bias_.size()) std::copy_n(spec.weights[1].data, outputs, bias_.data());
  }

  const Operand& scratch() const { return v_[v_.size() - 2]; }
  const Operand& out() const { return v_.back(); }

  const std::vector<Operand> v_;
  const int64_t positions_, hidden_;
  const bool sequence_;
  AlignedFloats bias_;
};

// A GRU or AUGRU over all positions.
//   operands: xg (positions * 3 hidden), then attention (positions) if has_attention, then mask
//     (positions) if has_mask, scratch, out. Item steps read an xg and a mask of user scope by
//     query.
//   ints = positions, hidden, has_attention, has_mask, whole sequence (0 or 1), then the format's.
//   weights = weight_hh (3 hidden, hidden) and, when there is one, bias_hh.
class GatedStep : public RecurrentStep {
 protected:
  explicit GatedStep(const StepSpec& spec)
      : RecurrentStep(spec, spec.ints[0], spec.ints[1], spec.ints[4] != 0, 3 * spec.ints[1]),
        attention_(spec.ints[2] ? &v_[1] : nullptr),
        mask_(spec.ints[3] ? &v_[spec.ints[2] ? 2 : 1] : nullptr) {}

  const Operand& xg() const { return v_[0]; }

  const Operand* const attention_;  // null: none
  const Operand* const mask_;
};

}  // namespace recstack
