// An executor whose scores are easy to foretell, and random queries that know their own.
#pragma once

#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "check.h"
#include "program/executor.h"
#include "program/layout.h"

namespace recstack::test {

inline constexpr int64_t kLimit = 1000;  // indices at or above it are refused

// Two outputs per row, from every input of the row and of its query, in a fixed order.
class SumExecutor : public Executor {
 public:
  explicit SumExecutor(const InputLayout& layout) : layout_(layout) {}

  Status run(const BatchView& batch, int64_t row_begin, int64_t row_end, float* out) override {
    for (int64_t row = row_begin; row < row_end; ++row) {
      int64_t query = 0;
      while (batch.query_offsets[query + 1] <= row) ++query;
      float sum = 0.0f;
      for (int64_t c = 0; c < layout_.dense_columns; ++c) {
        sum += batch.dense[row * layout_.dense_columns + c];
      }
      for (int64_t c = 0; c < layout_.user_dense_columns; ++c) {
        sum += 2.0f * batch.user_dense[query * layout_.user_dense_columns + c];
      }
      float lookups = 0.0f;
      int64_t bag = 0, value = 0;
      for (size_t f = 0; f < layout_.features.size(); ++f) {
        const bool user = layout_.features[f] == Scope::user;
        const int64_t mine = user ? query : row;
        const int64_t bags = user ? batch.queries : batch.rows;
        for (int64_t b = 0; b < bags; ++b) {
          for (int32_t l = 0; l < batch.lengths[bag]; ++l, ++value) {
            if (b != mine) continue;
            const int64_t index = batch.index_type == IndexType::int32
                                      ? static_cast<const int32_t*>(batch.values)[value]
                                      : static_cast<const int64_t*>(batch.values)[value];
            if (index >= kLimit) {
              return {.code = Status::Code::index_out_of_range,
                      .feature = static_cast<int32_t>(f),
                      .entry = mine,
                      .value = index,
                      .limit = kLimit};
            }
            const float weight = layout_.weighted ? batch.weights[value] : 1.0f;
            lookups += weight * static_cast<float>(index * static_cast<int64_t>(f + 1));
          }
          bag += 1;
        }
      }
      out[2 * (row - row_begin)] = sum;
      out[2 * (row - row_begin) + 1] = lookups;
    }
    return {};
  }

 private:
  InputLayout layout_;
};

inline InputLayout mixed_layout(bool weighted) {
  InputLayout layout;
  layout.features = {Scope::item, Scope::user, Scope::item};
  layout.fixed_lengths = {0, 0, 2};
  layout.dense_columns = 3;
  layout.user_dense_columns = 2;
  layout.outputs = 2;
  layout.weighted = weighted;
  return layout;
}

// A random batch that owns its arrays, and its expected scores.
struct Query {
  Query(const InputLayout& layout, std::vector<int32_t> offsets, bool wide, uint64_t seed)
      : query_offsets(std::move(offsets)) {
    std::mt19937_64 random(seed);
    auto number = [&] { return static_cast<float>(random() % 1000) / 7.0f; };
    view.queries = static_cast<int64_t>(query_offsets.size()) - 1;
    view.rows = query_offsets.back();
    for (int64_t i = 0; i < view.rows * layout.dense_columns; ++i) dense.push_back(number());
    for (int64_t i = 0; i < view.queries * layout.user_dense_columns; ++i) {
      user_dense.push_back(number());
    }
    for (size_t f = 0; f < layout.features.size(); ++f) {
      const int64_t bags = layout.features[f] == Scope::user ? view.queries : view.rows;
      for (int64_t b = 0; b < bags; ++b) {
        lengths.push_back(layout.fixed_lengths[f] > 0
                              ? static_cast<int32_t>(layout.fixed_lengths[f])
                              : static_cast<int32_t>(random() % 4));
        for (int32_t l = 0; l < lengths.back(); ++l) {
          narrow.push_back(static_cast<int32_t>(random() % kLimit));
          weights.push_back(number());
        }
      }
    }
    values.assign(narrow.begin(), narrow.end());
    view.query_offsets = query_offsets.data();
    view.dense = dense.data();
    view.user_dense = user_dense.data();
    view.values = wide ? static_cast<const void*>(values.data()) : narrow.data();
    view.index_type = wide ? IndexType::int64 : IndexType::int32;
    view.nnz = static_cast<int64_t>(values.size());
    view.lengths = lengths.data();
    view.weights = layout.weighted ? weights.data() : nullptr;
    out.assign(view.rows * layout.outputs, -1.0f);
    want = out;
    SumExecutor(layout).run(view, 0, view.rows, want.data());
  }

  void break_value(int64_t at) { narrow[at] = static_cast<int32_t>(values[at] = kLimit + 5); }

  std::vector<int32_t> query_offsets;
  std::vector<float> dense, user_dense, weights, out, want;
  std::vector<int32_t> narrow, lengths;
  std::vector<int64_t> values;
  BatchView view;
};

inline void check_scores(const Query& query) {
  CHECK_SAME_BITS(query.out.data(), query.want.data(), static_cast<long>(query.want.size()));
}

inline std::vector<int32_t> one_user(int32_t rows) { return {0, rows}; }

}  // namespace recstack::test
