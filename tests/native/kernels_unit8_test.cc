#include <deque>
#include <limits>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "kernels/seq/seq.h"

namespace recstack::test {
namespace {

constexpr int kInt8 = 2;  // of SeqKernels::unit

struct Case {
  int64_t positions, dim;
  std::vector<int64_t> widths;  // the last one's scores or sums
  std::vector<bool> int8;
  bool product = true, bias = true, fixed = false;
  std::vector<int32_t> outliers = {};
  UnitResult result = UnitResult::scores;
};

constexpr int64_t kRows = 5;

// Weights and inputs of a case, the same for every instruction set.
struct Inputs {
  explicit Inputs(const Case& c)
      : query(kRows * c.dim),
        keys(kRows * c.positions * c.dim),
        first_bias(kRows * c.widths[0]),
        product(c.widths[0] * c.dim) {
    Random random(static_cast<uint64_t>(c.positions * 1000 + c.dim));
    for (Guarded<float>* x : {&query, &keys, &first_bias, &product}) fill(*x, random);
    int64_t k = c.dim;
    for (const int64_t n : c.widths) {
      fill(weights.emplace_back(n * k), random);
      fill(biases.emplace_back(n), random);
      k = n;
    }
  }
  Guarded<float> query, keys, first_bias, product;
  std::deque<Guarded<float>> weights, biases;
};

// Scores or sums of rows [begin, end), row r's keys being entry r.
std::vector<float> run(Isa isa, const Case& c, const Inputs& in, int64_t begin, int64_t end) {
  const UnitKernels& kernels = seq_kernels(isa).unit[kInt8];
  const RowScale8 fixed = gemm8_kernels(isa).row_scale(-0.5f, 0.25f);
  const auto count = static_cast<int64_t>(c.outliers.size());
  std::deque<std::vector<float>> packed;
  std::vector<UnitLayer> layers;
  int64_t k = c.dim;
  for (size_t l = 0; l < c.widths.size(); k = c.widths[l++]) {
    const int64_t n = c.widths[l];
    const UnitKernels& own = c.int8[l] ? kernels : seq_kernels(isa).unit[0];
    const auto pack = [&](const float* w) {
      packed.emplace_back(static_cast<size_t>(own.packed_size(n, k)));
      (l == 0 ? own.pack : own.pack_later)(w, n, k, packed.back().data());
      return packed.back().data();
    };
    UnitLayer layer = {};
    layer.n = n;
    layer.k = k;
    layer.weight = pack(in.weights[l].data());
    if (l == 0 && c.product) layer.product = pack(in.product.data());
    if (l > 0 && c.bias) layer.bias = in.biases[l].data();
    layer.activation = l % 2 ? UnitActivation::prelu : UnitActivation::relu;
    layer.slope = in.biases[l].data();
    layer.int8 = c.int8[l];
    if (c.fixed) layer.range = &fixed;
    layers.push_back(layer);
  }
  const int64_t size = unit_panels_size(c.positions, c.dim, c.int8[0], count);
  Guarded<float> panels(kRows * size);
  for (int64_t r = 0; r < kRows; ++r) {
    UnitKeys keys = {.keys = in.keys.data() + r * c.positions * c.dim,
                     .positions = c.positions,
                     .dim = c.dim,
                     .panels = panels.data() + r * size};
    if (c.fixed) keys.range = &fixed;
    keys.outliers = c.outliers.data();
    keys.outlier_count = count;
    (c.int8[0] ? kernels : seq_kernels(isa).unit[0]).key_panels(keys);
  }
  const int64_t width = c.result == UnitResult::sum ? c.widths.back() : c.positions;
  Output out(end - begin, width, width + 3);
  kernels.attention_unit({.query = in.query.data() + begin * c.dim,
                          .query_stride = c.dim,
                          .panels = panels.data() + begin * size,
                          .panels_stride = size,
                          .plain_keys = false,
                          .entry_of_row = nullptr,
                          .bias = c.bias ? in.first_bias.data() + begin * c.widths[0] : nullptr,
                          .bias_stride = c.widths[0],
                          .layers = layers.data(),
                          .layer_count = static_cast<int64_t>(layers.size()),
                          .rows = end - begin,
                          .positions = c.positions,
                          .result = c.result,
                          .out = out.data(),
                          .out_stride = width + 3,
                          .outliers = c.outliers.data(),
                          .outlier_count = count});
  out.check_canaries();
  std::vector<float> found;
  for (int64_t r = 0; r < end - begin; ++r) {
    found.insert(found.end(), out.row(r), out.row(r) + width);
  }
  return found;
}

// Layers in int8 alone give the same bits on every set (tests/engine has their NumPy twin); a row
// has the same in every batch.
void check(Isa isa, const Case& c) {
  context = std::string(isa_name(isa)) + " positions=" + std::to_string(c.positions) +
            " dim=" + std::to_string(c.dim) + " n=" + std::to_string(c.widths[0]);
  const Inputs in(c);
  const std::vector<float> whole = run(isa, c, in, 0, kRows);
  const auto width = static_cast<int64_t>(whole.size()) / kRows;
  for (int64_t r = 0; r < kRows; ++r) {
    CHECK_SAME_BITS(run(isa, c, in, r, r + 1).data(), whole.data() + r * width, width);
  }
  const std::vector<float> want = run(Isa::scalar, c, in, 0, kRows);
  bool exact = c.result == UnitResult::scores;
  for (const bool int8 : c.int8) exact = exact && int8;
  for (size_t i = 0; i < want.size(); ++i) {
    if (exact) {
      CHECK_EQ(whole[i], want[i]);
    } else {
      CHECK_NEAR(whole[i], want[i], 0.02 * (1 + std::fabs(want[i])));
    }
  }
}

// Keys that are not finite give NaN at their position and change no other.
void check_not_finite(Isa isa, float bad) {
  const Case c = {.positions = 37, .dim = 9, .widths = {10, 1}, .int8 = {true, true}};
  context = std::string(isa_name(isa)) + " bad=" + std::to_string(bad);
  Inputs in(c);
  const std::vector<float> good = run(isa, c, in, 0, kRows);
  in.keys[(2 * c.positions + 33) * c.dim + 4] = bad;
  const std::vector<float> found = run(isa, c, in, 0, kRows);
  for (int64_t i = 0; i < kRows * c.positions; ++i) {
    if (i == 2 * c.positions + 33) {
      CHECK(std::isnan(found[i]));
    } else {
      CHECK_EQ(found[i], good[i]);
    }
  }
}

void run_all(Isa isa) {
  const std::vector<bool> all = {true, true}, mixed = {true, false}, later = {false, true};
  for (const int64_t positions : {0, 1, 15, 32, 33, 70}) {
    for (const int64_t dim : {1, 6, 32, 64}) {
      for (const int64_t hidden : {1, 8, 13, 36, 80}) {
        check(isa, {positions, dim, {hidden, 1}, all, hidden != 8, dim != 6});
      }
      check(isa, {positions, dim, {16, 1}, all, true, true, true, {0}});
      check(isa, {positions, dim, {12, 9, 1}, {true, true, true}});
      check(isa, {positions, dim, {12, 1}, mixed});
      check(isa, {positions, dim, {5, 24}, later, false, true, false, {}, UnitResult::sum});
    }
  }
  check(isa, {40, 31, {256, 256, 1}, {true, true, true}});
  check(isa, {40, 256, {16, 1}, all, true, true, false, {3, 100, 255}});
  for (const float bad : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    check_not_finite(isa, bad);
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::run_all(isa);
  return recstack::test::finish();
}
