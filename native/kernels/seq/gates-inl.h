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

template <bool kAttention>
RECSTACK_INLINE void gate_row(const float* xg, const float* hg, const float* h, int64_t hidden,
                              V attention, float* out) {
  for (int64_t j = 0; j < hidden; j += kLanes) {
    const int64_t lanes = lesser(kLanes, hidden - j);
    V x[3], g[3];
    RECSTACK_UNROLL
    for (int i = 0; i < 3; ++i) {
      x[i] = load_n(xg + i * hidden + j, lanes);
      g[i] = load_n(hg + i * hidden + j, lanes);
    }
    store_n(out + j, gates<kAttention>(x, g, load_n(h + j, lanes), attention), lanes);
  }
}

RECSTACK_INLINE void keep_row(const float* h, int64_t n, float* out) {
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t lanes = lesser(kLanes, n - j);
    store_n(out + j, load_n(h + j, lanes), lanes);
  }
}

void gates_f32(const GateArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* xg = args.xg + r * args.xg_stride;
    const float* hg = args.hg + r * args.hg_stride;
    const float* h = args.h + r * args.h_stride;
    float* out = args.out + r * args.out_stride;
    if (args.mask != nullptr && args.mask[r * args.mask_stride] == 0.0f) {
      keep_row(h, args.hidden, out);
    } else if (args.attention != nullptr) {
      const V score = set1(args.attention[r * args.attention_stride]);
      gate_row<true>(xg, hg, h, args.hidden, score, out);
    } else {
      gate_row<false>(xg, hg, h, args.hidden, zero(), out);
    }
  }
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
