#include <algorithm>

#include "core/aligned.h"
#include "peaks/measure.h"
#include "peaks/rounds.h"

namespace recstack {
namespace {

constexpr int64_t kBag = 80;
// A round of some 0.1 ms from memory; 32 KB of indices leave L2 to the table.
constexpr int64_t kLookups = 100 * kBag;

// splitmix64's finaliser over a counter (Steele, Lea, Flood 2014).
uint64_t random_bits(uint64_t counter) {
  uint64_t z = counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

struct Draws {
  uint64_t counter;
  std::vector<int32_t> indices;
  AlignedFloats out;

  // Uniform in [0, rows), by multiplication (Lemire 2019); rows < 2^31, so the bias is below 2^-1
  // rows in 2^32.
  void draw(uint64_t rows) {
    for (size_t i = 0; i + 1 < indices.size(); i += 2) {
      const uint64_t bits = random_bits(counter++);
      indices[i] = static_cast<int32_t>(((bits & 0xFFFFFFFFu) * rows) >> 32);
      indices[i + 1] = static_cast<int32_t>(((bits >> 32) * rows) >> 32);
    }
  }
};

}  // namespace

std::vector<double> measure_gather(Isa isa, const GatherTable& table,
                                   const std::vector<PrefetchChoice>& choices, uint64_t seed,
                                   const PeakRun& run) {
  const PeakKernels& kernels = peak_kernels(isa);
  int64_t farthest = 0;
  for (const PrefetchChoice& choice : choices) farthest = std::max(farthest, choice.distance);
  std::vector<Draws> draws(run.cores.size());
  for (size_t part = 0; part < draws.size(); ++part) {
    draws[part] = {.counter = seed + (uint64_t{part + 1} << 40),
                   .indices = std::vector<int32_t>((kLookups + farthest + 1) / 2 * 2),
                   .out = AlignedFloats(table.dim)};
  }
  std::vector<Contender> contenders;
  for (const PrefetchChoice& choice : choices) {
    contenders.push_back(
        {.prepare = [&](int part) { draws[part].draw(static_cast<uint64_t>(table.rows)); },
         .work =
             [&, choice](int part) {
               kernels.gather_f32({.table = table.data,
                                   .dim = table.dim,
                                   .indices = draws[part].indices.data(),
                                   .lookups = kLookups,
                                   .bag = kBag,
                                   .hint = choice.hint,
                                   .distance = choice.distance,
                                   .out = draws[part].out.data()});
             }});
  }
  std::vector<double> each;
  for (const int64_t ns : fastest_ns(run.cores, run.budget_ns, contenders)) {
    each.push_back(static_cast<double>(ns) /
                   static_cast<double>(kLookups * static_cast<int64_t>(run.cores.size())));
  }
  return each;
}

}  // namespace recstack
