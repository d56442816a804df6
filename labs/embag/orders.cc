// Long bags by how rows are prefetched and how many lookups in one table follow each other, all in
// turn in each round; see README.md.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <vector>

#include "core/isa.h"
#include "core/pages.h"
#include "kernels/embag/embag.h"

namespace {

using recstack::Prefetch;
using recstack::PrefetchHint;

constexpr Prefetch kWays[] = {{PrefetchHint::none, 1, 16}, {PrefetchHint::t1, 8, 16},
                              {PrefetchHint::t1, 32, 16},  {PrefetchHint::t1, 32, 64},
                              {PrefetchHint::t1, 16, 128}, {PrefetchHint::t1, 16, 1},
                              {PrefetchHint::t1, 32, 1}};
constexpr size_t kCount = std::size(kWays);
constexpr int64_t kLookups = 80000;  // at least, of one turn

struct Shape {
  double gib;
  int64_t dim, tables, pooling, bags;
  std::vector<double> ns[kCount];

  int64_t rows() const { return static_cast<int64_t>(gib * (1 << 28)) / dim / tables; }
  int64_t lookups() const { return bags * pooling; }  // of one table and batch
  int64_t batches() const { return std::max<int64_t>(1, kLookups / (tables * lookups())); }
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// splitmix64's finaliser over a counter (Steele, Lea, Flood 2014).
uint64_t random_bits() {
  static uint64_t counter = 0;
  uint64_t z = ++counter * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

// Every way sums in the same order, so the last batch's sums agree to the bit.
void turn(Shape& s, float* memory, recstack::Isa isa) {
  static const std::vector<uint8_t> zeros(4096);
  std::vector<int32_t> indices(static_cast<size_t>(s.batches() * s.tables * s.lookups()));
  const std::vector<int32_t> lengths(static_cast<size_t>(s.bags), static_cast<int32_t>(s.pooling));
  std::vector<float> out(static_cast<size_t>(s.bags * s.tables * s.dim)), first;
  std::vector<recstack::BagTable> tables;
  for (int64_t t = 0; t < s.tables; ++t) {
    tables.push_back({.table = memory + t * s.rows() * s.dim,
                      .format = recstack::RowFormat::fp32,
                      .rows = s.rows(),
                      .padding_index = -1,
                      .pooling = recstack::Pooling::sum,
                      .positions = 0,
                      .indices = nullptr,
                      .lookups = s.lookups(),
                      .lengths = lengths.data(),
                      .weights = nullptr,
                      .out = out.data() + t * s.dim,
                      .out_stride = s.tables * s.dim});
  }
  const auto run = [&](int64_t batch, const Prefetch& way) {
    for (int64_t t = 0; t < s.tables; ++t) {
      tables[static_cast<size_t>(t)].indices = &indices[(batch * s.tables + t) * s.lookups()];
    }
    recstack::embag_kernels(isa).bags({.tables = tables.data(),
                                       .count = s.tables,
                                       .after = 0,
                                       .asked = false,
                                       .dim = s.dim,
                                       .bags = s.bags,
                                       .index_type = recstack::IndexType::int32,
                                       .prefetch = way,
                                       .zeros = zeros.data()});
  };
  for (size_t way = 0; way < kCount; ++way) {
    for (int32_t& i : indices) {
      i = static_cast<int32_t>(((random_bits() >> 32) * static_cast<uint64_t>(s.rows())) >> 32);
    }
    const double begin = seconds();
    for (int64_t batch = 0; batch < s.batches(); ++batch) run(batch, kWays[way]);
    s.ns[way].push_back(1e9 * (seconds() - begin) / static_cast<double>(indices.size()));
    first = out;
    run(s.batches() - 1, kWays[0]);
    if (std::memcmp(first.data(), out.data(), 4 * out.size()) != 0) {
      std::printf("answers differ\n");
      std::exit(1);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::printf("usage: embag_orders SECONDS GIB:COLUMNS:TABLES:POOLING:BAGS ...\n");
    return 2;
  }
  std::vector<Shape> shapes;
  double most = 0;
  for (int i = 2; i < argc; ++i) {
    Shape s = {};
    if (std::sscanf(argv[i], "%lf:%ld:%ld:%ld:%ld", &s.gib, &s.dim, &s.tables, &s.pooling,
                    &s.bags) != 5) {
      std::printf("expected GIB:COLUMNS:TABLES:POOLING:BAGS, got %s\n", argv[i]);
      return 2;
    }
    most = std::max(most, s.gib);
    shapes.push_back(s);
  }
  const auto bytes = static_cast<size_t>(most * (1 << 30));
  const recstack::Pages memory = recstack::Pages::allocate(bytes);
  auto* floats = reinterpret_cast<float*>(memory.data());
  for (size_t i = 0; i < bytes / 4; ++i) floats[i] = static_cast<float>(i % 1021);
  const recstack::Isa isa = recstack::supported_isas().back();
  const double until = seconds() + std::atof(argv[1]);
  while (seconds() < until) {
    for (Shape& s : shapes) turn(s, floats, isa);
  }
  std::printf("median ns per lookup: none, T1 ahead/burst");
  for (size_t w = 1; w < kCount; ++w) std::printf(" %ld/%ld", kWays[w].distance, kWays[w].burst);
  std::printf("\n");
  for (Shape& s : shapes) {
    std::printf("%7.3f GiB %4ld B, %3ld tables, %4ld bags of %3ld:", s.gib, 4 * s.dim, s.tables,
                s.bags, s.pooling);
    for (std::vector<double>& ns : s.ns) {
      std::sort(ns.begin(), ns.end());
      std::printf(" %6.2f", ns[ns.size() / 2]);
    }
    std::printf("  (%zu rounds)\n", s.ns[0].size());
  }
}
