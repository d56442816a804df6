#pragma once

#include "kernels/act/math-inl.h"
#include "kernels/seq/seq.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE void keep_row(const float* h, int64_t n, float* out) {
  for (int64_t j = 0; j < n; j += kLanes) {
    const int64_t lanes = lesser(kLanes, n - j);
    store_n(out + j, load_n(h + j, lanes), lanes);
  }
}

template <bool kAttention>
RECSTACK_INLINE void gate_row(const float* xg, const float* hg, const float* h, int64_t hidden,
                              V attention, float* out) {
  const V one = set1(1.0f);
  for (int64_t j = 0; j < hidden; j += kLanes) {
    const int64_t lanes = lesser(kLanes, hidden - j);
    const auto gate = [&](const float* p, int64_t which) {
      return load_n(p + which * hidden + j, lanes);
    };
    const V reset = sigmoid(add(gate(xg, 0), gate(hg, 0)));
    const V update = sigmoid(add(gate(xg, 1), gate(hg, 1)));
    const V fresh = tanh(fma(reset, gate(hg, 2), gate(xg, 2)));
    const V old = load_n(h + j, lanes);
    V y;
    if constexpr (kAttention) {
      const V u = mul(attention, update);
      y = fma(u, fresh, mul(sub(one, u), old));
    } else {
      y = fma(update, old, mul(sub(one, update), fresh));
    }
    store_n(out + j, y, lanes);
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

void attention_features_f32(const float* query, int64_t query_stride, const float* keys,
                            int64_t keys_stride, int64_t rows, int64_t positions, int64_t dim,
                            uint32_t features, float* out) {
  const int64_t width = __builtin_popcount(features) * dim;
  for (int64_t r = 0; r < rows; ++r) {
    const float* q = query + r * query_stride;
    for (int64_t t = 0; t < positions; ++t, out += width) {
      const float* key = keys + r * keys_stride + t * dim;
      for (int64_t j = 0; j < dim; j += kLanes) {
        const int64_t lanes = lesser(kLanes, dim - j);
        const V a = load_n(q + j, lanes), b = load_n(key + j, lanes);
        float* to = out + j;
        const auto put = [&](uint32_t feature, V x) {
          if ((features & feature) == 0) return;
          store_n(to, x, lanes);
          to += dim;
        };
        put(kQuery, a);
        put(kKey, b);
        put(kDifference, sub(a, b));
        put(kProduct, mul(a, b));
        put(kSum, add(a, b));
      }
    }
  }
}

void weighted_sum_f32(const float* scores, int64_t scores_stride, const float* keys,
                      int64_t keys_stride, int64_t rows, int64_t positions, int64_t dim, float* out,
                      int64_t out_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const float* score = scores + r * scores_stride;
    for (int64_t j = 0; j < dim; j += kLanes) {
      const int64_t lanes = lesser(kLanes, dim - j);
      const float* key = keys + r * keys_stride + j;
      V sum = zero();
      for (int64_t t = 0; t < positions; ++t) {
        sum = fma(set1(score[t]), load_n(key + t * dim, lanes), sum);
      }
      store_n(out + r * out_stride + j, sum, lanes);
    }
  }
}

}  // namespace

extern const SeqKernels seq_table;
const SeqKernels seq_table = {
    .gates_f32 = gates_f32,
    .attention_features_f32 = attention_features_f32,
    .weighted_sum_f32 = weighted_sum_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
