#include "kernels/embag/embag.h"

#include "check.h"
#include "guarded.h"

namespace recstack::test {
namespace {

struct Case {
  int64_t dim;
  bool weighted;
  Pooling pooling;
  int64_t padding;
  int64_t distance;
  int64_t extra;  // indices past these bags, one of them out of range
};

constexpr int64_t kRows = 50;
constexpr int32_t kLengths[] = {3, 0, 1, 20, 0, 33, 2, 7};
constexpr int64_t kBags = 8;
constexpr int64_t kLookups = 66;

template <class Index>
constexpr IndexType kType = sizeof(Index) == 4 ? IndexType::int32 : IndexType::int64;

template <class Index>
void fill_indices(Guarded<Index>& indices, Random& random) {
  for (int64_t i = 0; i < indices.size(); ++i) {
    indices[i] = i < kLookups ? static_cast<Index>(random.below(kRows))
                              : static_cast<Index>(i % 2 ? -7 : 1 << 30);
  }
}

template <class Index>
void check_bags(Isa isa, const Case& c) {
  context = std::string(isa_name(isa)) + " int" + std::to_string(8 * sizeof(Index)) +
            " dim=" + std::to_string(c.dim) + " weighted=" + std::to_string(c.weighted) +
            " mean=" + std::to_string(c.pooling == Pooling::mean) +
            " padding=" + std::to_string(c.padding) + " distance=" + std::to_string(c.distance);
  Random random(static_cast<uint64_t>(c.dim * 17 + c.distance));
  Guarded<float> table(kRows * c.dim), weights(kLookups);
  Guarded<Index> indices(kLookups + c.extra);
  Guarded<int32_t> lengths(kBags);
  fill(table, random);
  fill(weights, random);
  fill_indices(indices, random);
  for (int64_t b = 0; b < kBags; ++b) lengths[b] = kLengths[b];
  Output out(kBags, c.dim, c.dim + 3);
  EmbagArgs args = {table.data(),   kRows,        c.dim,
                    indices.data(), kType<Index>, indices.size(),
                    lengths.data(), kBags,        c.weighted ? weights.data() : nullptr,
                    c.pooling,      c.padding,    c.distance,
                    out.data(),     c.dim + 3};
  CHECK_EQ(embag_kernels(isa).bag_f32(args), -1);
  out.check_canaries();
  Output alone(1, c.dim, c.dim);
  int64_t l = 0;
  for (int64_t b = 0; b < kBags; ++b) {
    std::vector<double> sum(static_cast<size_t>(c.dim));
    int64_t count = 0;
    for (int64_t e = l; e < l + lengths[b]; ++e) {
      if (indices[e] == c.padding) continue;
      ++count;
      for (int64_t d = 0; d < c.dim; ++d) {
        sum[static_cast<size_t>(d)] +=
            static_cast<double>(c.weighted ? weights[e] : 1.0f) * table[indices[e] * c.dim + d];
      }
    }
    const double divisor = c.pooling == Pooling::mean && count > 0 ? static_cast<double>(count) : 1;
    for (int64_t d = 0; d < c.dim; ++d) {
      CHECK_NEAR(out.at(b, d), sum[static_cast<size_t>(d)] / divisor, 1e-5);
    }
    EmbagArgs one = args;
    one.indices = indices.data() + l;
    one.lookups_ahead = lengths[b];
    one.lengths = lengths.data() + b;
    one.bags = 1;
    one.weights = c.weighted ? weights.data() + l : nullptr;
    one.out = alone.data();
    CHECK_EQ(embag_kernels(isa).bag_f32(one), -1);
    CHECK_SAME_BITS(out.row(b), alone.data(), c.dim);
    l += lengths[b];
  }
  for (int64_t bad : {int64_t{0}, int64_t{5}, kLookups - 1}) {
    for (int64_t value : {int64_t{-1}, kRows, int64_t{1} << 30}) {
      const Index kept = indices[bad];
      indices[bad] = static_cast<Index>(value);
      CHECK_EQ(embag_kernels(isa).bag_f32(args), bad);
      indices[bad] = kept;
    }
  }
}

template <class Index>
void check_sequence(Isa isa, int64_t dim, int64_t padding, int64_t distance) {
  context = std::string(isa_name(isa)) + " sequence dim=" + std::to_string(dim);
  Random random(static_cast<uint64_t>(dim));
  const int64_t positions = 33, width = positions * dim;
  Guarded<float> table(kRows * dim);
  Guarded<Index> indices(kLookups + 5);
  Guarded<int32_t> lengths(kBags);
  fill(table, random);
  fill_indices(indices, random);
  for (int64_t b = 0; b < kBags; ++b) lengths[b] = kLengths[b];
  Output out(kBags, width, width + 5);
  const SequenceArgs args = {table.data(),   kRows,          dim,      indices.data(), kType<Index>,
                             indices.size(), lengths.data(), kBags,    positions,      padding,
                             distance,       out.data(),     width + 5};
  CHECK_EQ(embag_kernels(isa).sequence_f32(args), -1);
  out.check_canaries();
  int64_t l = 0;
  for (int64_t b = 0; b < kBags; ++b) {
    for (int64_t p = 0; p < positions; ++p) {
      const bool real = p < lengths[b] && indices[l + p] != padding;
      for (int64_t d = 0; d < dim; ++d) {
        CHECK_EQ(out.at(b, p * dim + d), real ? table[indices[l + p] * dim + d] : 0.0f);
      }
    }
    l += lengths[b];
  }
  indices[40] = static_cast<Index>(kRows);
  CHECK_EQ(embag_kernels(isa).sequence_f32(args), 40);
  embag_kernels(isa).prefetch_f32(table.data(), kRows, dim, indices.data(), kType<Index>,
                                  indices.size());
}

template <class Index>
void run(Isa isa) {
  for (int64_t dim : {1, 2, 3, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129, 257}) {
    for (int64_t distance : {0, 1, 16, 1000}) {
      check_bags<Index>(isa, {dim, false, Pooling::sum, -1, distance, 9});
      check_bags<Index>(isa, {dim, true, Pooling::sum, 4, distance, 9});
      check_bags<Index>(isa, {dim, false, Pooling::mean, 4, distance, 0});
    }
    check_sequence<Index>(isa, dim, -1, 8);
    check_sequence<Index>(isa, dim, 3, 0);
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
