#include <algorithm>

#include "core/aligned.h"
#include "peaks/measure.h"
#include "peaks/rounds.h"

namespace recstack {
namespace {

// splitmix64's finaliser over a counter (Steele, Lea, Flood 2014).
uint64_t random_bits(uint64_t counter) {
  uint64_t z = counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// What one thread looks up, and where it puts the sums.
struct Draws {
  uint64_t counter;
  int64_t turn;  // rounds begun: the same for all threads
  std::vector<int32_t> indices, lengths;
  AlignedFloats out, zeros;

  // Uniform in [0, rows), by multiplication (Lemire 2019); rows < 2^31, so the bias is below 2^-1
  // rows in 2^32.
  void draw(uint64_t rows) {
    ++turn;
    for (size_t i = 0; i + 1 < indices.size(); i += 2) {
      const uint64_t bits = random_bits(counter++);
      indices[i] = static_cast<int32_t>(((bits & 0xFFFFFFFFu) * rows) >> 32);
      indices[i + 1] = static_cast<int32_t>(((bits >> 32) * rows) >> 32);
    }
  }
};

void pool(Isa isa, const float* table, const GatherTables& tables, const Prefetch& prefetch,
          Draws& draws) {
  if (prefetch.hint == PrefetchHint::none) {
    return peak_kernels(isa).gather_f32({.table = table,
                                         .dim = tables.dim,
                                         .indices = draws.indices.data(),
                                         .lookups = tables.lookups,
                                         .bag = kGatherBag,
                                         .out = draws.out.data()});
  }
  const BagTable bags = {.table = table,
                         .format = RowFormat::fp32,
                         .rows = tables.rows,
                         .padding_index = -1,
                         .pooling = Pooling::sum,
                         .positions = 0,
                         .indices = draws.indices.data(),
                         .lookups = tables.lookups,
                         .lengths = draws.lengths.data(),
                         .weights = nullptr,
                         .out = draws.out.data(),
                         .out_stride = 0};
  embag_kernels(isa).bags({.tables = &bags,
                           .count = 1,
                           .after = 0,
                           .asked = false,
                           .dim = tables.dim,
                           .bags = tables.lookups / kGatherBag,
                           .index_type = IndexType::int32,
                           .prefetch = prefetch,
                           .zeros = draws.zeros.data()});
}

}  // namespace

std::vector<double> measure_gather(Isa isa, const GatherTables& tables,
                                   const std::vector<Prefetch>& choices, uint64_t seed,
                                   const PeakRun& run) {
  const auto bags = static_cast<size_t>(tables.lookups / kGatherBag);
  const int64_t zeros = (zeros_bytes(tables.dim) + 3) / 4;
  std::vector<Draws> draws(run.cores.size());
  for (size_t part = 0; part < draws.size(); ++part) {
    draws[part] = {.counter = seed + (uint64_t{part + 1} << 40),
                   .turn = 0,
                   .indices = std::vector<int32_t>(static_cast<size_t>(tables.lookups)),
                   .lengths = std::vector<int32_t>(bags, kGatherBag),
                   .out = AlignedFloats(tables.dim),
                   .zeros = AlignedFloats(zeros)};
    std::fill_n(draws[part].zeros.data(), zeros, 0.0f);
  }
  std::vector<Contender> contenders;
  for (const Prefetch& choice : choices) {
    contenders.push_back(
        {.prepare = [&](int part) { draws[part].draw(static_cast<uint64_t>(tables.rows)); },
         .work =
             [&, choice](int part) {
               const int64_t at = draws[part].turn % tables.count;
               pool(isa, tables.data + at * tables.rows * tables.dim, tables, choice, draws[part]);
             }});
  }
  std::vector<double> each;
  for (const int64_t ns : fastest_ns(run.cores, run.budget_ns, contenders)) {
    each.push_back(static_cast<double>(ns) /
                   static_cast<double>(tables.lookups * static_cast<int64_t>(run.cores.size())));
  }
  return each;
}

}  // namespace recstack
