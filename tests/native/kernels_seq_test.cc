#include "kernels/seq/seq.h"

#include "check.h"
#include "guarded.h"

namespace recstack::test {
namespace {

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void check_gates(Isa isa, int64_t rows, int64_t hidden, bool attention, bool mask) {
  context = std::string(isa_name(isa)) + " gates hidden=" + std::to_string(hidden) +
            " attention=" + std::to_string(attention) + " mask=" + std::to_string(mask);
  Random random(static_cast<uint64_t>(rows * 100 + hidden));
  const int64_t wide = 3 * hidden;
  Guarded<float> xg(rows * wide), hg(rows * wide), h(rows * hidden), a(rows), m(rows);
  fill(xg, random);
  fill(hg, random);
  fill(h, random);
  fill(a, random);
  for (int64_t r = 0; r < rows; ++r) m[r] = r % 3 == 1 ? 0.0f : 1.0f;
  Output out(rows, hidden, hidden + 3);
  GateArgs args = {xg.data(),
                   wide,
                   hg.data(),
                   wide,
                   h.data(),
                   hidden,
                   attention ? a.data() : nullptr,
                   1,
                   mask ? m.data() : nullptr,
                   1,
                   rows,
                   hidden,
                   out.data(),
                   hidden + 3};
  seq_kernels(isa).gates_f32(args);
  out.check_canaries();
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < hidden; ++j) {
      const float* x = xg.data() + r * wide + j;
      const float* g = hg.data() + r * wide + j;
      const double old = h[r * hidden + j];
      const double reset = sigmoid(static_cast<double>(x[0]) + g[0]);
      const double z = sigmoid(static_cast<double>(x[hidden]) + g[hidden]);
      const double fresh = std::tanh(x[2 * hidden] + reset * g[2 * hidden]);
      const double u = a[r] * z;
      const double gru = attention ? (1 - u) * old + u * fresh : (1 - z) * fresh + z * old;
      CHECK_NEAR(out.at(r, j), mask && m[r] == 0 ? old : gru, 1e-6);
    }
  }
  args.out = h.data();  // in place
  args.out_stride = hidden;
  seq_kernels(isa).gates_f32(args);
  for (int64_t r = 0; r < rows; ++r) CHECK_SAME_BITS(h.data() + r * hidden, out.row(r), hidden);
}

void check_features(Isa isa, int64_t dim, uint32_t features) {
  context = std::string(isa_name(isa)) + " features=" + std::to_string(features) +
            " dim=" + std::to_string(dim);
  const int64_t rows = 3, positions = 4;
  Random random(static_cast<uint64_t>(dim));
  Guarded<float> query(rows * dim), keys(rows * positions * dim);
  fill(query, random);
  fill(keys, random);
  const int64_t width = __builtin_popcount(features) * dim;
  Output out(rows * positions, width, width);
  seq_kernels(isa).attention_features_f32(query.data(), dim, keys.data(), positions * dim, rows,
                                          positions, dim, features, out.data());
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t t = 0; t < positions; ++t) {
      for (int64_t d = 0; d < dim; ++d) {
        const float q = query[r * dim + d], k = keys[(r * positions + t) * dim + d];
        const float values[] = {q, k, q - k, q * k, q + k};
        int64_t block = 0;
        for (uint32_t bit = 0; bit < 5; ++bit) {
          if ((features >> bit & 1) == 0) continue;
          CHECK_EQ(out.at(r * positions + t, block++ * dim + d), values[bit]);
        }
      }
    }
  }
}

void check_weighted_sum(Isa isa, int64_t positions, int64_t dim) {
  context = std::string(isa_name(isa)) + " weighted_sum positions=" + std::to_string(positions) +
            " dim=" + std::to_string(dim);
  const int64_t rows = 5;
  Random random(static_cast<uint64_t>(dim + positions));
  Guarded<float> scores(rows * positions), keys(rows * positions * dim);
  fill(scores, random);
  fill(keys, random);
  Output out(rows, dim, dim + 1);
  const std::vector<int32_t> entry_of_row = {4, 0, 0, 2, 1};
  const bool shared = dim % 2 == 1;
  seq_kernels(isa).weighted_sum_f32({.scores = scores.data(),
                                     .scores_stride = positions,
                                     .keys = keys.data(),
                                     .keys_stride = positions * dim,
                                     .entry_of_row = shared ? entry_of_row.data() : nullptr,
                                     .rows = rows,
                                     .positions = positions,
                                     .dim = dim,
                                     .out = out.data(),
                                     .out_stride = dim + 1});
  out.check_canaries();
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t entry = shared ? entry_of_row[static_cast<size_t>(r)] : r;
    for (int64_t d = 0; d < dim; ++d) {
      double sum = 0;
      for (int64_t t = 0; t < positions; ++t) {
        const float key = keys[(entry * positions + t) * dim + d];
        sum += static_cast<double>(scores[r * positions + t]) * key;
      }
      CHECK_NEAR(out.at(r, d), sum, 1e-5);
    }
  }
}

void run(Isa isa) {
  for (int64_t dim : {0, 1, 3, 15, 16, 17, 31, 33, 64, 100, 257}) {
    for (bool mask : {false, true}) {
      for (bool attention : {false, true}) check_gates(isa, 7, dim, attention, mask);
    }
    for (uint32_t features = 0; features < 32; ++features) check_features(isa, dim, features);
    for (int64_t positions : {0, 1, 5, 50}) check_weighted_sum(isa, positions, dim);
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run(isa);
  return recstack::test::finish();
}
