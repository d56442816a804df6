#pragma once

#include "kernels/seq/gates-inl.h"
#include "kernels/seq/recurrence-inl.h"
#include "kernels/seq/rnn-inl.h"
#include "kernels/seq/seq.h"
#include "kernels/seq/unit-inl.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

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

extern const SeqKernels seq_table;
const SeqKernels seq_table = {
    .gates_f32 = gates_f32,
    .attention_features_f32 = attention_features_f32,
    .weighted_sum_f32 = weighted_sum_f32,
    .recurrence = {.packed_size = recurrence_packed_size,
                   .pack_f32 = pack_recurrence_f32,
                   .recurrence_f32 = recurrence_f32},
    .rnn = {.packed_size = rnn_packed_size, .pack_f32 = pack_rnn_f32, .rnn_f32 = rnn_f32},
    .unit = {.packed_size = unit_packed_size,
             .pack_f32 = pack_unit_f32,
             .key_panels_f32 = key_panels_f32,
             .attention_unit_f32 = attention_unit_f32},
};

}  // namespace recstack::RECSTACK_ISA_NS
