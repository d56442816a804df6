// How fast one row's weights stream from L3: layouts and prefetches in turn, beside a plain read of
// the same bytes, over footprints of one model's layers. Medians and least of all passes, GB/s.
//   layout s x v: s streams side by side of v vectors per step; the engine's panels are 4 x 2
// The last contender reads two of every four KiB of twice the footprint: the same lines on twice
// the pages, so it tells translations from lines. Usage: gemm_stream [rounds]
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/pages.h"

namespace {

constexpr int kNone = -1;
constexpr int64_t kLargest = int64_t{48} << 20;

double now_ns() {
  return static_cast<double>(std::chrono::steady_clock::now().time_since_epoch().count());
}

// out[j] = sum over i of x[i] * w[i, j], in the layout of kStreams x kVectors.
template <int kStreams, int kVectors, int kHint = kNone, int kAhead = 0>
void multiply(const float* w, const float* x, int64_t k, int64_t n, float* out) {
  constexpr int64_t kWidth = kVectors * 16;
  for (int64_t j = 0; j < n; j += kWidth * kStreams) {
    __m512 acc[kStreams][kVectors] = {};
    const float* at = w + j * k;
    for (int64_t i = 0; i < k; ++i, at += kWidth) {
      const __m512 xi = _mm512_set1_ps(x[i]);
#pragma GCC unroll 16
      for (int c = 0; c < kStreams * kVectors; ++c) {
        const float* p = at + c / kVectors * k * kWidth + c % kVectors * 16;
        if constexpr (kHint != kNone) {
          _mm_prefetch(reinterpret_cast<const char*>(p) + kAhead, static_cast<_mm_hint>(kHint));
        }
        __m512& sum = acc[c / kVectors][c % kVectors];
        sum = _mm512_fmadd_ps(xi, _mm512_load_ps(p), sum);
      }
    }
#pragma GCC unroll 16
    for (int c = 0; c < kStreams * kVectors; ++c) {
      _mm512_store_ps(out + j + c * 16, acc[c / kVectors][c % kVectors]);
    }
  }
}

// Reads `k` KiB, of every 4 KiB only the first kRead.
template <int kRead>
void read(const float* w, const float*, int64_t k, int64_t, float* out) {
  __m512 acc[8] = {};
  for (int64_t page = 0; page < k / kRead; ++page) {
    const float* at = w + page * 1024;
    for (int64_t i = 0; i < kRead * 256; i += 128) {
#pragma GCC unroll 8
      for (int c = 0; c < 8; ++c) acc[c] = _mm512_add_ps(acc[c], _mm512_load_ps(at + i + c * 16));
    }
  }
  for (int c = 1; c < 8; ++c) acc[0] = _mm512_add_ps(acc[0], acc[c]);
  _mm512_store_ps(out, acc[0]);
}

struct Contender {
  const char* name;
  void (*run)(const float*, const float*, int64_t, int64_t, float*);
  bool reads;
};
constexpr Contender kContenders[] = {
    {"4 x 2", multiply<4, 2>, false},
    {"2 x 4", multiply<2, 4>, false},
    {"1 x 8", multiply<1, 8>, false},
    {"1 x 16", multiply<1, 16>, false},
    {"1 x 8, T0, 4 KiB", multiply<1, 8, _MM_HINT_T0, 4096>, false},
    {"1 x 8, T1, 8 KiB", multiply<1, 8, _MM_HINT_T1, 8192>, false},
    {"1 x 8, NTA, 512 B", multiply<1, 8, _MM_HINT_NTA, 512>, false},
    {"1 x 8, NTA, 4 KiB", multiply<1, 8, _MM_HINT_NTA, 4096>, false},
    {"plain read", read<4>, true},
    {"read, half pages", read<2>, true},
};

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 25;
  const recstack::Pages pages = recstack::Pages::allocate(kLargest);
  auto* weights = reinterpret_cast<float*>(pages.data());
  for (int64_t i = 0; i < kLargest / 4; ++i) weights[i] = static_cast<float>(i % 251) * 1e-3f;
  std::vector<float> x(8192, 0.5f);
  alignas(64) static float out[1024], expected[1024];
  for (const int64_t k : {1024, 2048, 3072, 4096, 5120}) {
    constexpr int64_t kColumns = 1024;
    const int64_t bytes = k * kColumns * 4;
    std::printf("%.1f MB\n", static_cast<double>(bytes) * 1e-6);
    std::vector<double> taken[std::size(kContenders)];
    for (int round = 0; round < rounds; ++round) {
      for (size_t c = 0; c < std::size(kContenders); ++c) {
        const auto& [name, run, reads] = kContenders[c];
        const int64_t units = reads ? bytes / 1024 : k;
        run(weights, x.data(), units, kColumns, out);
        for (int pass = 0; pass < 4; ++pass) {
          const double start = now_ns();
          run(weights, x.data(), units, kColumns, out);
          taken[c].push_back(now_ns() - start);
        }
        // Constant x and a layout that only permutes weights: all sums together are the same.
        double sum = 0, want = 0;
        for (int64_t j = 0; j < kColumns && !reads; ++j) sum += out[j];
        if (c == 0) std::copy_n(out, kColumns, expected);
        for (int64_t j = 0; j < kColumns && !reads; ++j) want += expected[j];
        if (std::fabs(sum - want) > 1e-3 * std::fabs(want)) {
          std::printf("wrong answer: %s\n", name);
          return 1;
        }
      }
    }
    for (size_t c = 0; c < std::size(kContenders); ++c) {
      std::sort(taken[c].begin(), taken[c].end());
      const double size = static_cast<double>(bytes);
      std::printf("  %-20s median %5.1f  best %5.1f GB/s\n", kContenders[c].name,
                  size / taken[c][taken[c].size() / 2], size / taken[c][0]);
    }
  }
}
