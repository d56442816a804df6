// The gates of one row or step of a recurrence; seq.h has the equations.
#pragma once

#include "kernels/act/math-inl.h"
#include "kernels/seq/seq.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

// The state after `old`, from what the input (x) and the state (h) give to reset, update and new.
template <bool kAttention>
RECSTACK_INLINE V gates(const V (&x)[3], const V (&h)[3], V old, V attention) {
  const V one = set1(1.0f);
  const V reset = sigmoid(add(x[0], h[0]));
  const V update = sigmoid(add(x[1], h[1]));
  const V fresh = tanh(fma(reset, h[2], x[2]));
  if constexpr (kAttention) {
    const V u = mul(attention, update);
    return fma(u, fresh, mul(sub(one, u), old));
  } else {
    return fma(update, old, mul(sub(one, update), fresh));
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
