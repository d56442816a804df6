// Turns of bags and their unit, shared by a team: the same bits whatever its size, and TSan's to
// watch.
#include <memory>
#include <vector>

#include "check.h"
#include "guarded.h"
#include "program/team_executor.h"

namespace recstack::test {
namespace {

constexpr int64_t kDim = 8, kHidden = 4, kTurns = 4, kTablesEach = 3, kRowsEach = 20;
constexpr int64_t kTables = kTurns * kTablesEach + 1;  // the last one's bag is what all keys meet
constexpr int64_t kRow = 0, kAdded = 16, kSums = 32, kKeys = 64, kFloats = 96;  // of the workspace

struct Weights {
  Weights() {
    Random random(3);
    for (std::vector<float>* x : {&tables, &of_row, &of_keys, &last}) {
      for (float& v : *x) v = random.uniform();
    }
  }
  std::vector<float> tables = std::vector<float>(kTables * kRowsEach * kDim);
  std::vector<float> of_row = std::vector<float>(kHidden * kDim);
  std::vector<float> of_keys = std::vector<float>(kHidden * kDim);
  std::vector<float> last = std::vector<float>(kDim * kHidden);
};

WeightView view(const float* data, int64_t rows, int64_t columns) {
  return {data, data, {rows, columns}};
}

Operand place(int64_t offset, int64_t stride, int64_t column = 0, bool own = false) {
  return {own ? Operand::Kind::own : Operand::Kind::item, offset, column, stride, nullptr};
}

StepSpec bags(const Weights& w, int64_t first, int64_t count, const Operand& out, int64_t turn) {
  StepSpec spec{.kind = "bags",
                .scope = Scope::item,
                .operands = {},
                .ints = {kDim, 2, 32, 1, 0},
                .floats = {},
                .weights = {},
                .turn = turn};
  for (int64_t t = first; t < first + count; ++t) {
    Operand to = out;
    to.column += (t - first) * kDim;
    spec.operands.push_back(to);
    for (int64_t i : {t, kRowsEach, int64_t{-1}, int64_t{0}, int64_t{0}, int64_t{0}}) {
      spec.ints.push_back(i);
    }
    spec.weights.push_back(view(w.tables.data() + t * kRowsEach * kDim, kRowsEach, kDim));
  }
  return spec;
}

std::shared_ptr<Program> program(Isa isa, const Weights& w) {
  constexpr int64_t kRelu = 1;
  std::vector<StepSpec> steps = {bags(w, kTables - 1, 1, place(kRow, 16), StepSpec::kNoTurn)};
  steps.push_back({.kind = "linear",
                   .scope = Scope::item,
                   .operands = {place(kRow, 16), place(kAdded, 16)},
                   .ints = {1, kDim, kHidden, 0, 0},
                   .floats = {},
                   .weights = {view(w.of_row.data(), kHidden, kDim)}});
  for (int64_t t = 0; t < kTurns; ++t) {
    steps.push_back(bags(w, t * kTablesEach, kTablesEach, place(kKeys, 32, 0, true), t));
    steps.push_back(
        {.kind = "attention_unit",
         .scope = Scope::item,
         .operands = {place(kRow, 16), place(kKeys, 32, 0, true), place(kAdded, 16),
                      place(kSums, 32, t * kDim)},
         .ints = {kTablesEach, kDim, 1, 1, 1, 0, 2, kHidden, kRelu, 0, 0, kDim, kRelu, 0, 0},
         .floats = {},
         .weights = {view(w.of_keys.data(), kHidden, kDim), view(w.last.data(), kDim, kHidden)},
         .turn = t});
  }
  steps.push_back({.kind = "reduce",
                   .scope = Scope::item,
                   .operands = {place(kSums, 32), {Operand::Kind::output, 0, 0, kDim, nullptr}},
                   .ints = {0, 1, kTurns, kDim},
                   .floats = {},
                   .weights = {}});
  ProgramSpec spec{.isa = isa, .layout = {}, .tile_rows = 2, .item_floats = kFloats};
  spec.layout.features.assign(kTables, Scope::item);
  spec.layout.fixed_lengths.assign(kTables, 0);
  spec.layout.outputs = kDim;
  return std::make_shared<Program>(std::move(spec), steps, std::vector<std::shared_ptr<void>>{});
}

// Bags of 0 to 4 indices.
struct Batch {
  Batch(int64_t rows, Random& random) : offsets{0, static_cast<int32_t>(rows)} {
    for (int64_t i = 0; i < kTables * rows; ++i) {
      lengths.push_back(static_cast<int32_t>(i % 5));
      for (int64_t l = 0; l < i % 5; ++l) {
        values.push_back(static_cast<int32_t>((random.uniform() + 1) / 2 * (kRowsEach - 1)));
      }
    }
    view.rows = rows;
    view.queries = 1;
    view.query_offsets = offsets.data();
    view.values = values.data();
    view.nnz = static_cast<int64_t>(values.size());
    view.lengths = lengths.data();
  }
  std::vector<int32_t> offsets, lengths, values;
  BatchView view;
};

std::vector<double> expected(const Weights& w, const Batch& batch) {
  const int64_t rows = batch.view.rows;
  std::vector<double> bag(static_cast<size_t>(kTables * rows * kDim), 0.0);
  for (size_t b = 0, l = 0; b < batch.lengths.size(); ++b) {
    const float* table = w.tables.data() + static_cast<int64_t>(b) / rows * kRowsEach * kDim;
    for (int32_t i = 0; i < batch.lengths[b]; ++i, ++l) {
      for (size_t d = 0; d < kDim; ++d) {
        bag[b * kDim + d] +=
            static_cast<double>(table[batch.values[l] * kDim + static_cast<int64_t>(d)]);
      }
    }
  }
  std::vector<double> out(static_cast<size_t>(rows * kDim), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    const double* row = &bag[static_cast<size_t>(((kTables - 1) * rows + r) * kDim)];
    for (int64_t t = 0; t + 1 < kTables; ++t) {
      const double* key = &bag[static_cast<size_t>((t * rows + r) * kDim)];
      double hidden[kHidden] = {};
      for (int64_t j = 0; j < kHidden; ++j) {
        for (int64_t d = 0; d < kDim; ++d) {
          const auto at = static_cast<size_t>(j * kDim + d);
          hidden[j] += static_cast<double>(w.of_row[at]) * row[d];
          hidden[j] += static_cast<double>(w.of_keys[at]) * key[d];
        }
      }
      for (int64_t d = 0; d < kDim; ++d) {
        double y = 0;
        for (int64_t j = 0; j < kHidden; ++j) {
          y += static_cast<double>(w.last[static_cast<size_t>(d * kHidden + j)]) *
               std::fmax(hidden[j], 0.0);
        }
        out[static_cast<size_t>(r * kDim + d)] += std::fmax(y, 0.0);
      }
    }
  }
  return out;
}

void check(Isa isa) {
  const Weights weights;
  const std::shared_ptr<Program> made = program(isa, weights);
  const std::unique_ptr<Executor> alone = made->make();
  Random random(5);
  for (int threads : {2, 3, 4, 6}) {
    const std::unique_ptr<Executor> team = TeamFactory(made, threads).make();
    for (int64_t rows : {1, 2, 3, 5}) {
      context = std::string(isa_name(isa)) + " threads=" + std::to_string(threads) +
                " rows=" + std::to_string(rows);
      for (int round = 0; round < 20; ++round) {
        Batch batch(rows, random);
        const std::vector<double> want = expected(weights, batch);
        std::vector<float> one(want.size()), shared(want.size());
        CHECK(alone->run(batch.view, 0, rows, one.data()).ok());
        CHECK(team->run(batch.view, 0, rows, shared.data()).ok());
        CHECK_SAME_BITS(shared.data(), one.data(), static_cast<long>(one.size()));
        for (size_t i = 0; i < want.size(); ++i) CHECK_NEAR(one[i], want[i], 1e-4);
        const size_t bad = batch.values.size() * static_cast<size_t>(round) / 20;
        batch.values[bad] = kRowsEach;
        const Status status = team->run(batch.view, 0, rows, shared.data());
        CHECK(status.code == Status::Code::index_out_of_range);
      }
    }
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) recstack::test::check(isa);
  return recstack::test::finish();
}
