#include "kernels/embag/embag.h"

#include <algorithm>
#include <memory>

#include "check.h"
#include "guarded.h"
#include "kernels/quant/quant.h"

namespace recstack::test {
namespace {

constexpr int64_t kRows = 50;
constexpr int32_t kLengths[] = {3, 0, 1, 20, 20, 0, 33, 2, 7, 150, 150};
constexpr int64_t kBags = 11;
constexpr int64_t kLookups = 386;
constexpr int64_t kPositions = 151;

template <class Index>
constexpr IndexType kType = sizeof(Index) == 4 ? IndexType::int32 : IndexType::int64;

// One table with indices of its own; bags 4 and 10 repeat the ones before them.
template <class Index>
struct Given {
  Given(int64_t dim, Pooling how, bool with_weights, int64_t padding_index, uint64_t seed,
        RowFormat stored_as = RowFormat::fp32)
      : pooling(how),
        format(stored_as),
        weighted(with_weights),
        padding(padding_index),
        width(how == Pooling::none ? kPositions * dim : dim),
        table(kRows * dim),
        stored(kRows * row_bytes(format, dim)),
        weights(kLookups),
        indices(kLookups),
        lengths(kBags),
        out(kBags, width, width + 3) {
    Random random(seed);
    fill(table, random);
    store(dim);
    fill(weights, random);
    for (int64_t l = 0; l < kLookups; ++l) indices[l] = static_cast<Index>(random.below(kRows));
    int64_t l = 0;
    for (int64_t b = 0; b < kBags; ++b) {
      lengths[b] = kLengths[b];
      if (b == 4 || b == 10) {
        for (int64_t i = l; i < l + lengths[b]; ++i) {
          indices[i] = indices[i - lengths[b]];
          weights[i] = weights[i - lengths[b]];
        }
      }
      l += lengths[b];
    }
  }

  // The table in its format, and what that stands for.
  void store(int64_t dim) {
    CHECK_EQ(quantise_table({.table = table.data(),
                             .rows = kRows,
                             .dim = dim,
                             .format = format,
                             .greedy = true,
                             .out = stored.data(),
                             .scratch = nullptr},
                            Isa::scalar, 1),
             -1);
    dequantise_table(
        {.stored = stored.data(), .rows = kRows, .dim = dim, .format = format, .out = table.data()},
        Isa::scalar, 1);
  }

  BagTable view() {
    return {.table = stored.data(),
            .format = format,
            .rows = kRows,
            .padding_index = padding,
            .pooling = pooling,
            .positions = kPositions,
            .indices = indices.data(),
            .lookups = kLookups,
            .lengths = lengths.data(),
            .weights = weighted ? weights.data() : nullptr,
            .out = out.data(),
            .out_stride = width + 3};
  }

  double expected(int64_t bag, int64_t column, int64_t dim) const {
    int64_t l = 0;
    for (int64_t b = 0; b < bag; ++b) l += lengths[b];
    if (pooling == Pooling::none) {
      const int64_t p = column / dim;
      const bool real = p < lengths[bag] && indices[l + p] != padding;
      return real ? table[indices[l + p] * dim + column % dim] : 0.0;
    }
    double sum = 0;
    int64_t count = 0;
    for (int64_t e = l; e < l + lengths[bag]; ++e) {
      if (indices[e] == padding) continue;
      ++count;
      sum += static_cast<double>(weighted ? weights[e] : 1.0f) * table[indices[e] * dim + column];
    }
    return pooling == Pooling::mean && count > 0 ? sum / static_cast<double>(count) : sum;
  }

  Pooling pooling;
  RowFormat format;
  bool weighted;
  int64_t padding;
  int64_t width;
  Guarded<float> table;
  Guarded<uint8_t> stored;
  Guarded<float> weights;
  Guarded<Index> indices;
  Guarded<int32_t> lengths;
  Output out;
};

template <class Index>
void check_alone(Isa isa, Given<Index>& given, const BagsArgs& args) {
  if (given.pooling == Pooling::none) return;
  Output alone(1, args.dim, args.dim);
  int64_t l = 0;
  for (int64_t b = 0; b < kBags; ++b) {
    BagTable one = given.view();
    one.indices = given.indices.data() + l;
    one.lookups = given.lengths[b];
    one.lengths = given.lengths.data() + b;
    one.weights = given.weighted ? given.weights.data() + l : nullptr;
    one.out = alone.data();
    BagsArgs single = args;
    single.tables = &one;
    single.count = 1;
    single.bags = 1;
    CHECK_EQ(embag_kernels(isa).bags(single).table, -1);
    CHECK_SAME_BITS(given.out.row(b), alone.data(), args.dim);
    l += given.lengths[b];
  }
}

// Two tables a call, each prefetching for the next, give what one call for all gives.
template <class Index>
void check_in_turns(Isa isa, const BagsArgs& args, std::vector<Given<Index>*> given) {
  std::vector<std::unique_ptr<Output>> outs;
  std::vector<BagTable> tables;
  for (Given<Index>* g : given) {
    outs.push_back(std::make_unique<Output>(kBags, g->width, g->width + 3));
    tables.push_back(g->view());
    tables.back().out = outs.back()->data();
  }
  for (int64_t t = 0; t < args.count; t += 2) {
    BagsArgs turn = args;
    turn.tables = tables.data() + t;
    turn.count = std::min<int64_t>(2, args.count - t);
    turn.after = std::min<int64_t>(3, args.count - t - turn.count);
    turn.asked = t > 0;
    CHECK_EQ(embag_kernels(isa).bags(turn).table, -1);
  }
  for (size_t t = 0; t < given.size(); ++t) {
    outs[t]->check_canaries();
    for (int64_t b = 0; b < kBags; ++b) {
      CHECK_SAME_BITS(outs[t]->row(b), given[t]->out.row(b), given[t]->width);
    }
  }
}

template <class Index>
void check_bad(Isa isa, const BagsArgs& args, std::vector<Given<Index>*> given) {
  for (size_t t = 0; t < given.size(); ++t) {
    for (int64_t bad : {int64_t{0}, int64_t{5}, int64_t{200}, kLookups - 1}) {
      for (int64_t value : {int64_t{-1}, kRows, int64_t{1} << 30}) {
        Index& at = given[t]->indices[bad];
        const Index kept = at;
        at = static_cast<Index>(value);
        const BadLookup found = embag_kernels(isa).bags(args);
        CHECK_EQ(found.table, static_cast<int64_t>(t));
        CHECK_EQ(found.lookup, bad);
        at = kept;
      }
    }
  }
}

template <class Index>
void check(Isa isa, int64_t dim, Prefetch prefetch) {
  context = std::string(isa_name(isa)) + " int" + std::to_string(8 * sizeof(Index)) +
            " dim=" + std::to_string(dim) + " distance=" + std::to_string(prefetch.distance) +
            " hint=" + std::to_string(static_cast<int>(prefetch.hint));
  const auto seed = static_cast<uint64_t>(dim);
  Given<Index> sum(dim, Pooling::sum, false, -1, seed),
      mean(dim, Pooling::mean, false, 4, seed + 1);
  Given<Index> weighted(dim, Pooling::sum, true, 7, seed + 2);
  Given<Index> padded(dim, Pooling::sum, false, 9, seed + 3);
  Given<Index> none(dim, Pooling::none, false, 11, seed + 4);
  std::vector<Given<Index>*> given = {&sum, &mean, &none, &weighted, &padded};
  // Tables of other formats between those of fp32.
  constexpr RowFormat kStored[] = {RowFormat::fp16, RowFormat::bf16, RowFormat::int8,
                                   RowFormat::int4, RowFormat::int2};
  std::vector<std::unique_ptr<Given<Index>>> stored;
  for (const RowFormat format : kStored) {
    const auto add = [&](Pooling how, bool with_weights, int64_t padding) {
      stored.push_back(
          std::make_unique<Given<Index>>(dim, how, with_weights, padding, seed + 5, format));
      given.insert(given.begin() + static_cast<int64_t>(stored.size() % given.size()),
                   stored.back().get());
    };
    add(Pooling::sum, false, 3);
    add(Pooling::mean, false, 4);
    add(Pooling::sum, true, -1);
    add(Pooling::none, false, 11);
  }
  std::vector<BagTable> tables;
  for (Given<Index>* g : given) tables.push_back(g->view());
  const std::vector<uint8_t> zeros(static_cast<size_t>(zeros_bytes(dim)));
  const BagsArgs args = {.tables = tables.data(),
                         .count = static_cast<int64_t>(tables.size()),
                         .after = 0,
                         .asked = false,
                         .dim = dim,
                         .bags = kBags,
                         .index_type = kType<Index>,
                         .prefetch = prefetch,
                         .zeros = zeros.data()};
  CHECK_EQ(embag_kernels(isa).bags(args).table, -1);
  for (Given<Index>* g : given) {
    g->out.check_canaries();
    for (int64_t b = 0; b < kBags; ++b) {
      for (int64_t d = 0; d < g->width; ++d)
        CHECK_NEAR(g->out.at(b, d), g->expected(b, d, dim), 4e-5);
    }
    check_alone(isa, *g, args);
  }
  check_in_turns(isa, args, given);
  if (prefetch.distance == 16 && dim % 16 == 1) check_bad(isa, args, given);
}

template <class Index>
void run(Isa isa) {
  for (int64_t dim : {1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 257}) {
    check<Index>(isa, dim, {PrefetchHint::none, 32, 1});
    check<Index>(isa, dim, {PrefetchHint::t0, 1, Prefetch::kMaxBurst});
    check<Index>(isa, dim, {PrefetchHint::t1, 16, 1});
    check<Index>(isa, dim, {PrefetchHint::nta, Prefetch::kMaxDistance, 1});
    check<Index>(isa, dim, {PrefetchHint::t1, Prefetch::kMaxDistance, 16});
  }
}

}  // namespace
}  // namespace recstack::test

int main() {
  for (recstack::Isa isa : recstack::supported_isas()) {
    recstack::test::run<int32_t>(isa);
    recstack::test::run<int64_t>(isa);
  }
  return recstack::test::finish();
}
