// What layers reach, layer by layer, set by set, format by format, timed in turn: fp32 in GFLOP/s,
// the formats of two bytes as multiples of it, and each as a share of its floor: the larger of the
// multiply-adds at the format's peak and of reading the packed weights once from where they rest,
// which is measured. Checks before it times. Weights are warm: each layer runs over and over, so
// they rest in the cache level they fit; with `cold` as the first word every call takes another of
// many layers, 64 MB in all in fp32, so that they stream. Usage: gemm_bench [cold] [set [rows...]]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "peaks/kernels.h"

namespace {

using namespace recstack;

// This thread's processor time: on a shared machine wall time counts the turns of others.
double now_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

// Twelve independent FMA chains on 512-bit vectors. On Zen 4 two 256-bit FMAs a cycle come to the
// same, so this is avx2's peak too.
double peak_gflops() {
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    constexpr int64_t kSteps = 20000;
    int64_t left = kSteps;
    const double start = now_ns();
    asm volatile(
        "1:\n"
        ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n"
        "vfmadd231ps %%zmm12, %%zmm13, %%zmm\\r\n"
        ".endr\n"
        "dec %0\n"
        "jnz 1b\n"
        : "+r"(left)
        :
        : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
          "xmm10", "xmm11", "xmm12", "xmm13");
    best = std::max(best, kSteps * 12 * 32 / (now_ns() - start));
  }
  return best;
}

struct Layer {
  int64_t k, n;
};
constexpr Layer kLayers[] = {{512, 1024}, {1024, 512}, {256, 2560}, {64, 64},
                             {32, 64},    {200, 128},  {256, 1},    {13, 512},
                             {96, 32},    {64, 8},     {2560, 1024}};

struct Buffer {
  explicit Buffer(size_t n)
      : data(static_cast<float*>(std::aligned_alloc(64, (4 * n + 127) / 64 * 64))) {
    for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>(std::rand()) / RAND_MAX - 0.5f;
  }
  ~Buffer() { std::free(data); }
  float* data;
};

constexpr WeightFormat kFormats[] = {WeightFormat::fp32, WeightFormat::bf16, WeightFormat::fp16};
constexpr int kFormatCount = 3;

// Of the rounded weights and inputs, each relative to its size: of a sum of k terms of random sign
// the square root of k times that.
constexpr double kRounding[] = {0, 0x1p-8, 0x1p-11};

// One format's copies of a layer, `layers` of them side by side.
struct Packed {
  Packed(const LayerKernels& format, const float* w, Layer layer, int64_t layers)
      : kernels(format),
        bytes((format.packed_bytes(layer.n, layer.k) + 63) / 64 * 64),
        all(bytes * layers / 4) {
    for (int64_t i = 0; i < layers; ++i) {
      kernels.pack(w, layer.n, layer.k, layer.k, reinterpret_cast<char*>(all.data) + i * bytes);
    }
  }
  const void* at(int64_t i) const { return reinterpret_cast<const char*>(all.data) + i * bytes; }
  const LayerKernels& kernels;
  size_t bytes;
  Buffer all;
};

// By format.
struct Found {
  double gflops[kFormatCount];
  double of_floor[kFormatCount];
};

template <class Run>
double median_of_rounds(Run run) {
  std::vector<double> rounds(31);
  for (double& round : rounds) round = run();
  std::nth_element(rounds.begin(), rounds.begin() + 15, rounds.end());
  return rounds[15];
}

// One pass over all copies of a layer, per copy; whole steps of the loop that reads.
double read_ns(Isa isa, const Packed& packed, int64_t layers) {
  const auto floats = static_cast<int64_t>(packed.bytes) * layers / 4 / kReadStep * kReadStep;
  if (floats == 0) return 0;
  const int64_t passes = std::max<int64_t>(1, (1 << 18) / floats);
  float sums[16];
  const double ns = median_of_rounds([&] {
    const double start = now_ns();
    peak_kernels(isa).read_f32(packed.all.data, floats, passes, sums);
    return now_ns() - start;
  });
  return ns / static_cast<double>(passes * layers);
}

Found measure(Isa isa, int64_t rows, Layer layer, bool cold, double peak) {
  const auto [k, n] = layer;
  const int64_t layers = cold ? std::max<int64_t>(1, (64 << 20) / (4 * n * k)) : 1;
  Buffer x(rows * k), w(n * k), bias(n), out(rows * n);
  std::vector<Packed> packed;
  packed.reserve(kFormatCount);
  for (WeightFormat format : kFormats) {
    packed.emplace_back(gemm_kernels(isa).of(format), w.data, layer, layers);
  }
  const auto run = [&](int f, int64_t i) {
    packed[f].kernels.gemm({x.data, rows, k, k, packed[f].at(i % layers), n, bias.data,
                            Activation::relu, out.data, n});
  };
  for (int f = 0; f < kFormatCount; ++f) {
    run(f, 0);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t j = 0; j < n; ++j) {
        const double allowed = 1e-4 + kRounding[f] * std::sqrt(static_cast<double>(k));
        double sum = bias.data[j];
        for (int64_t i = 0; i < k; ++i) {
          sum += static_cast<double>(x.data[r * k + i]) * w.data[j * k + i];
        }
        if (std::fabs(std::max(sum, 0.0) - out.data[r * n + j]) > allowed) {
          std::printf("wrong answer: rows %ld k %ld n %ld\n", rows, k, n);
          std::exit(1);
        }
      }
    }
  }
  const double flops = 2.0 * rows * n * k;
  const int repeats = std::max(1, static_cast<int>(3e7 / flops));
  std::vector<double> rounds[kFormatCount];
  int64_t next = 0;
  for (int round = 0; round < 31; ++round) {
    for (int f = 0; f < kFormatCount; ++f) {
      const double start = now_ns();
      for (int i = 0; i < repeats; ++i) run(f, next + i);
      rounds[f].push_back(flops * repeats / (now_ns() - start));
    }
    next += repeats;
  }
  Found found;
  for (int f = 0; f < kFormatCount; ++f) {
    std::nth_element(rounds[f].begin(), rounds[f].begin() + 15, rounds[f].end());
    const bool doubled = isa == Isa::avx512_bf16 && kFormats[f] == WeightFormat::bf16;
    const double floor_ns =
        std::max(flops / (doubled ? 2 * peak : peak), read_ns(isa, packed[f], layers));
    found.gflops[f] = rounds[f][15];
    found.of_floor[f] = floor_ns * rounds[f][15] / flops;
  }
  return found;
}

}  // namespace

int main(int argc, char** argv) {
  const double peak = peak_gflops();
  const bool cold = argc > 1 && std::strcmp(argv[1], "cold") == 0;
  argc -= cold;
  argv += cold;
  std::vector<int64_t> rows_asked = {1, 4, 16, 64, 256};
  if (argc > 2) rows_asked.clear();
  for (int i = 2; i < argc; ++i) rows_asked.push_back(std::atoll(argv[i]));
  std::printf("peak %.1f GFLOP/s (one core, fp32 FMA)\n", peak);
  for (Isa isa : supported_isas()) {
    if (argc > 1 && std::strcmp(argv[1], isa_name(isa)) != 0) continue;
    std::printf("%s: fp32 GFLOP/s, bf16 and fp16 as multiples of it (each of its floor)\n%12s",
                isa_name(isa), "k x n");
    for (int64_t rows : rows_asked) std::printf("%37ld", rows);
    std::printf("\n");
    for (Layer layer : kLayers) {
      char name[32];
      std::snprintf(name, sizeof name, "%ld x %ld", layer.k, layer.n);
      std::printf("%12s", name);
      for (int64_t rows : rows_asked) {
        const auto [gflops, share] = measure(isa, rows, layer, cold, peak);
        std::printf("  %6.1f (%3.0f%%)", gflops[0], 100 * share[0]);
        for (int f = 1; f < kFormatCount; ++f) {
          std::printf(" %4.2f (%3.0f%%)", gflops[f] / gflops[0], 100 * share[f]);
        }
      }
      std::printf("\n");
    }
  }
}
