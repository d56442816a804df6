// Sum-pooling of random fp32 rows, numbered versions side by side; see README.md.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/aligned.h"
#include "core/isa.h"
#include "core/pages.h"
#include "kernels/embag/embag.h"

namespace {

constexpr int64_t kPooling = 80;
constexpr int kRounds = 9;

struct Work {
  int64_t dim, tables, bags;  // bags of every table
  std::vector<float*> table;
  int64_t rows;
  std::vector<int32_t> indices;  // table-major
  std::vector<int32_t> lengths;
  std::vector<float> out;  // (bags, tables * dim)

  int64_t lookups() const { return bags * kPooling; }  // of one table
  float* result(int64_t t) { return out.data() + t * dim; }
};

void prefetch_row(const float* row, int64_t dim) {
  for (int64_t d = 0; d < dim; d += 16) __builtin_prefetch(row + d, 0, 2);
}

void sum_bag(const float* table, int64_t dim, const int32_t* indices, int64_t n, float* out) {
  std::fill_n(out, dim, 0.0f);
  for (int64_t l = 0; l < n; ++l) {
    const float* row = table + indices[l] * dim;
    for (int64_t d = 0; d < dim; ++d) out[d] += row[d];
  }
}

// 1: nothing ahead.
void plain(Work& w) {
  for (int64_t t = 0; t < w.tables; ++t) {
    const int32_t* indices = w.indices.data() + t * w.lookups();
    for (int64_t b = 0; b < w.bags; ++b) {
      sum_bag(w.table[t], w.dim, indices + b * kPooling, kPooling,
              w.result(t) + b * w.tables * w.dim);
    }
  }
}

// 2: the rows of the next bag, in one burst.
void burst(Work& w) {
  for (int64_t t = 0; t < w.tables; ++t) {
    const int32_t* indices = w.indices.data() + t * w.lookups();
    for (int64_t b = 0; b < w.bags; ++b) {
      for (int64_t l = 0; l < kPooling && b + 1 < w.bags; ++l) {
        prefetch_row(w.table[t] + indices[(b + 1) * kPooling + l] * w.dim, w.dim);
      }
      sum_bag(w.table[t], w.dim, indices + b * kPooling, kPooling,
              w.result(t) + b * w.tables * w.dim);
    }
  }
}

// 3: a fixed distance ahead, up to the table's end.
void by_table(Work& w) {
  constexpr int64_t kAhead = 32;
  for (int64_t t = 0; t < w.tables; ++t) {
    const int32_t* indices = w.indices.data() + t * w.lookups();
    for (int64_t b = 0; b < w.bags; ++b) {
      float* out = w.result(t) + b * w.tables * w.dim;
      std::fill_n(out, w.dim, 0.0f);
      for (int64_t l = b * kPooling; l < (b + 1) * kPooling; ++l) {
        if (l + kAhead < w.lookups()) {
          prefetch_row(w.table[t] + indices[l + kAhead] * w.dim, w.dim);
        }
        const float* row = w.table[t] + indices[l] * w.dim;
        for (int64_t d = 0; d < w.dim; ++d) out[d] += row[d];
      }
    }
  }
}

// 4: the kernel: addresses a window ahead, across bags and tables.
void kernel(Work& w, recstack::Isa isa, recstack::Prefetch prefetch) {
  static const recstack::AlignedFloats zeros(1024);
  std::fill_n(zeros.data(), zeros.size(), 0.0f);
  std::vector<recstack::BagTable> tables;
  for (int64_t t = 0; t < w.tables; ++t) {
    tables.push_back({.table = w.table[t],
                      .format = recstack::RowFormat::fp32,
                      .rows = w.rows,
                      .padding_index = -1,
                      .pooling = recstack::Pooling::sum,
                      .positions = 0,
                      .indices = w.indices.data() + t * w.lookups(),
                      .lookups = w.lookups(),
                      .lengths = w.lengths.data(),
                      .weights = nullptr,
                      .out = w.result(t),
                      .out_stride = w.tables * w.dim});
  }
  recstack::embag_kernels(isa).bags({.tables = tables.data(),
                                     .count = w.tables,
                                     .after = 0,
                                     .asked = false,
                                     .dim = w.dim,
                                     .bags = w.bags,
                                     .index_type = recstack::IndexType::int32,
                                     .prefetch = prefetch,
                                     .zeros = zeros.data()});
}

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Run>
double median_ns(Work& w, std::mt19937_64& random, const Run& run) {
  std::vector<double> ns;
  for (int r = 0; r < kRounds; ++r) {
    for (int32_t& i : w.indices) {
      i = static_cast<int32_t>(random() % static_cast<uint64_t>(w.rows));
    }
    const double begin = seconds();
    run();
    ns.push_back(1e9 * (seconds() - begin) / static_cast<double>(w.indices.size()));
  }
  std::sort(ns.begin(), ns.end());
  return ns[kRounds / 2];
}

void same(Work& w, recstack::Isa isa) {
  kernel(w, isa, {});
  const std::vector<float> got = w.out;
  plain(w);
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::fabs(got[i] - w.out[i]) > 1e-4f) {
      std::printf("answers differ at %zu: %g, %g\n", i, got[i], w.out[i]);
      std::exit(1);
    }
  }
}

void compare(const recstack::Pages& memory, int64_t dim, int64_t tables, int64_t bags) {
  Work w;
  w.dim = dim, w.tables = tables, w.bags = bags;
  w.rows = static_cast<int64_t>(memory.size() / 4) / dim / tables;
  for (int64_t t = 0; t < tables; ++t) {
    w.table.push_back(reinterpret_cast<float*>(memory.data()) + t * w.rows * dim);
  }
  w.indices.resize(static_cast<size_t>(tables * w.lookups()));
  w.lengths.assign(static_cast<size_t>(bags), kPooling);
  w.out.resize(static_cast<size_t>(bags * tables * dim));
  std::mt19937_64 random(1);
  const recstack::Isa isa = recstack::supported_isas().back();
  same(w, isa);
  std::printf("%4ld-byte rows, %2ld tables, %4ld bags:", 4 * dim, tables, bags);
  std::printf("  1 plain %5.1f", median_ns(w, random, [&] { plain(w); }));
  std::printf("  2 burst %5.1f", median_ns(w, random, [&] { burst(w); }));
  std::printf("  3 by table %5.1f", median_ns(w, random, [&] { by_table(w); }));
  for (const int64_t distance : {8, 16, 32, 64, 128}) {
    const double ns =
        median_ns(w, random, [&] { kernel(w, isa, {recstack::PrefetchHint::t1, distance}); });
    std::printf("  4 T1@%ld %5.1f", distance, ns);
  }
  std::printf("  4 T0@32 %5.1f  ns per lookup\n",
              median_ns(w, random, [&] { kernel(w, isa, {recstack::PrefetchHint::t0, 32}); }));
}

}  // namespace

int main(int argc, char** argv) {
  const double gib = argc > 1 ? std::atof(argv[1]) : 4.0;
  const auto bytes = static_cast<size_t>(gib * static_cast<double>(1 << 30));
  const recstack::Pages memory = recstack::Pages::allocate(bytes);
  std::memset(memory.data(), 0, memory.size());
  std::printf("%.1f GiB, %s huge pages\n", gib, memory.huge() ? "on" : "without");
  for (const int64_t dim : {16, 32, 64, 128}) {
    for (const auto& [tables, bags] : {std::pair<int64_t, int64_t>{8, 1}, {8, 64}, {1, 512}}) {
      compare(memory, dim, tables, bags);
    }
  }
}
