// Sum-pooling of random rows in every stored format, in turn in each round; see README.md.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "core/isa.h"
#include "core/pages.h"
#include "kernels/embag/embag.h"
#include "kernels/quant/quant.h"

namespace {

using recstack::RowFormat;

constexpr int64_t kPooling = 80, kTables = 8, kBags = 64;
// Runs of a turn, the first of them not timed: it finds another format's lines and translations.
constexpr size_t kRuns = 6;
constexpr const char* kNames[] = {"fp32", "fp16", "bf16", "int8", "int4", "int2"};
constexpr RowFormat kFormats[] = {RowFormat::fp32, RowFormat::fp16, RowFormat::bf16,
                                  RowFormat::int8, RowFormat::int4, RowFormat::int2};
constexpr size_t kCount = std::size(kFormats);

struct Bags {
  int64_t dim, rows;
  RowFormat format;
  recstack::Pages memory;  // kTables tables of `rows` rows
  std::vector<float> out;  // (kBags, kTables * dim)

  int64_t table_bytes() const { return rows * recstack::row_bytes(format, dim); }
};

// Tables of as many rows in each format: `source` rows quantised, again and again.
Bags make(RowFormat format, int64_t dim, int64_t rows, const std::vector<float>& source,
          recstack::Isa isa) {
  Bags b{.dim = dim, .rows = rows, .format = format, .memory = {}, .out = {}};
  const int64_t stride = recstack::row_bytes(format, dim), all = kTables * rows;
  b.memory = recstack::Pages::allocate(static_cast<size_t>(all * stride));
  if (b.memory.data() == nullptr) std::exit(2);
  const int64_t held = static_cast<int64_t>(source.size()) / dim;
  for (int64_t at = 0; at < all; at += held) {
    quantise_table({.table = source.data(),
                    .rows = std::min(held, all - at),
                    .dim = dim,
                    .format = format,
                    .greedy = false,
                    .out = b.memory.data() + at * stride,
                    .scratch = nullptr},
                   isa, 2);
  }
  b.out.resize(static_cast<size_t>(kBags * kTables * dim));
  return b;
}

void run(Bags& b, const std::vector<int32_t>& indices, const std::vector<int32_t>& lengths,
         recstack::Prefetch prefetch, recstack::Isa isa) {
  static const std::vector<uint8_t> zeros(4096);
  recstack::BagTable tables[kTables];
  for (int64_t t = 0; t < kTables; ++t) {
    tables[t] = {.table = b.memory.data() + t * b.table_bytes(),
                 .format = b.format,
                 .rows = b.rows,
                 .padding_index = -1,
                 .pooling = recstack::Pooling::sum,
                 .positions = 0,
                 .indices = indices.data() + t * kBags * kPooling,
                 .lookups = kBags * kPooling,
                 .lengths = lengths.data(),
                 .weights = nullptr,
                 .out = b.out.data() + t * b.dim,
                 .out_stride = kTables * b.dim};
  }
  recstack::embag_kernels(isa).bags({.tables = tables,
                                     .count = kTables,
                                     .after = 0,
                                     .asked = false,
                                     .dim = b.dim,
                                     .bags = kBags,
                                     .index_type = recstack::IndexType::int32,
                                     .prefetch = prefetch,
                                     .zeros = zeros.data()});
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void draw(std::vector<int32_t>& indices, int64_t rows, std::mt19937_64& random) {
  for (int32_t& i : indices) i = static_cast<int32_t>(random() % static_cast<uint64_t>(rows));
}

// Every format's sums against those of its dequantised rows.
void check(Bags& b, const std::vector<int32_t>& indices, const std::vector<int32_t>& lengths,
           recstack::Isa isa) {
  run(b, indices, lengths, {}, isa);
  const int64_t stride = recstack::row_bytes(b.format, b.dim);
  std::vector<float> row(static_cast<size_t>(b.dim));
  std::vector<double> sum(static_cast<size_t>(b.dim));
  for (int64_t bag = 0; bag < kTables * kBags; bag += 17) {
    const int64_t t = bag / kBags, e = bag % kBags;
    std::fill(sum.begin(), sum.end(), 0.0);
    for (int64_t l = 0; l < kPooling; ++l) {
      const int64_t i = indices[static_cast<size_t>(bag * kPooling + l)];
      dequantise_table({.stored = b.memory.data() + t * b.table_bytes() + i * stride,
                        .rows = 1,
                        .dim = b.dim,
                        .format = b.format,
                        .out = row.data()},
                       recstack::Isa::scalar, 1);
      for (int64_t d = 0; d < b.dim; ++d)
        sum[static_cast<size_t>(d)] += row[static_cast<size_t>(d)];
    }
    for (int64_t d = 0; d < b.dim; ++d) {
      const float got = b.out[static_cast<size_t>((e * kTables + t) * b.dim + d)];
      if (std::fabs(got - sum[static_cast<size_t>(d)]) > 1e-3) {
        std::printf("answers differ: %g, %g\n", got, sum[static_cast<size_t>(d)]);
        std::exit(1);
      }
    }
  }
}

double median(std::vector<double> x) {
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

// Mean lines of a row that starts at a multiple of its own size in memory aligned to lines.
double lines(int64_t bytes) {
  double sum = 0;
  for (int64_t r = 0; r < 64; ++r) {
    sum += static_cast<double>((r * bytes + bytes - 1) / 64 - r * bytes / 64 + 1);
  }
  return sum / 64;
}

void compare(int64_t dim, int64_t rows, int rounds, recstack::Isa isa) {
  std::mt19937_64 random(1);
  std::vector<float> source(static_cast<size_t>(dim) << 16);
  for (float& x : source) x = static_cast<float>(random() >> 40) * 0x1p-24f - 0.5f;
  std::vector<Bags> all;
  for (const RowFormat format : kFormats) all.push_back(make(format, dim, rows, source, isa));
  std::vector<std::vector<int32_t>> indices(
      kRuns, std::vector<int32_t>(static_cast<size_t>(kTables * kBags * kPooling)));
  const std::vector<int32_t> lengths(static_cast<size_t>(kBags), kPooling);
  draw(indices[0], rows, random);
  for (Bags& b : all) check(b, indices[0], lengths, isa);
  for (const int64_t distance : {16, 32, 64}) {
    std::vector<double> ns[kCount], ratio[kCount];
    for (int round = 0; round < rounds; ++round) {
      for (auto& drawn : indices) draw(drawn, rows, random);
      for (size_t f = 0; f < kCount; ++f) {
        double begin = 0;
        for (size_t i = 0; i < kRuns; ++i) {
          if (i == 1) begin = seconds();
          run(all[f], indices[i], lengths, {recstack::PrefetchHint::t1, distance}, isa);
        }
        const auto lookups = static_cast<double>((kRuns - 1) * indices[0].size());
        ns[f].push_back(1e9 * (seconds() - begin) / lookups);
        ratio[f].push_back(ns[0].back() / ns[f].back());
      }
    }
    std::printf("%s d=%ld, %.2f GB of fp32, T1@%ld:\n", recstack::isa_name(isa), dim,
                static_cast<double>(kTables * rows * dim * 4) * 1e-9, distance);
    for (size_t f = 0; f < kCount; ++f) {
      const int64_t bytes = recstack::row_bytes(kFormats[f], dim);
      std::printf(
          "  %s %4ld bytes in %.2f lines: %6.1f ns per lookup, %5.2f GB/s of lines, "
          "%.2f times fp32 (bytes allow %.2f)\n",
          kNames[f], bytes, lines(bytes), median(ns[f]), 64 * lines(bytes) / median(ns[f]),
          median(ratio[f]), static_cast<double>(4 * dim) / static_cast<double>(bytes));
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  const double gib = argc > 1 ? std::atof(argv[1]) : 2.0;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 21;
  recstack::Isa isa = recstack::supported_isas().back();
  if (argc > 3) isa = recstack::isa_from_name(argv[3]).value_or(isa);
  for (const int64_t dim : {64, 32}) {
    const auto rows = static_cast<int64_t>(gib * (1 << 30)) / (4 * dim) / kTables;
    compare(dim, std::max<int64_t>(rows, 1), rounds, isa);
  }
}
