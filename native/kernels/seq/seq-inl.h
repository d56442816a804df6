#pragma once

#include "kernels/seq/gates-inl.h"
#include "kernels/seq/recurrence-inl.h"
#include "kernels/seq/rnn-inl.h"
#include "kernels/seq/seq.h"
#include "kernels/seq/tables.h"
#include "kernels/seq/unit-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

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

void weighted_sum_f32(const WeightedSumArgs& args) {
  for (int64_t r = 0; r < args.rows; ++r) {
    const float* score = args.scores + r * args.scores_stride;
    const float* keys = args.keys + entry_of(args.entry_of_row, r) * args.keys_stride;
    for (int64_t j = 0; j < args.dim; j += kLanes) {
      const int64_t lanes = lesser(kLanes, args.dim - j);
      const auto term = [&](int64_t t, V sum) {
        return fma(set1(score[t]), load_n(keys + t * args.dim + j, lanes), sum);
      };
      V sum[4] = {zero(), zero(), zero(), zero()};
      int64_t t = 0;
      for (; t + 4 <= args.positions; t += 4) {
        RECSTACK_UNROLL
        for (int i = 0; i < 4; ++i) sum[i] = term(t + i, sum[i]);
      }
      for (; t < args.positions; ++t) sum[0] = term(t, sum[0]);
      store_n(args.out + r * args.out_stride + j, add(add(sum[0], sum[1]), add(sum[2], sum[3])),
              lanes);
    }
  }
}

}  // namespace

const SeqKernels seq_table = {
    .gates_f32 = gates_f32,
    .attention_features_f32 = attention_features_f32,
    .weighted_sum_f32 = weighted_sum_f32,
    .recurrence = {kRecurrenceKernels<Fp32>},
    .rnn = {kRnnKernels<Fp32>},
    .unit = {kUnitKernels<Fp32>},
};

}  // namespace recstack::RECSTACK_ISA_NS
