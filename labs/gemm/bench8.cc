// int8 layers beside fp32 ones, layer by layer, set by set: time of each, their ratio, and how near
// the int8 one comes to its floor. Both answers are checked before anything is timed; rounds
// alternate, so that both meet the same machine; weights are warm. The floor is the longer of the
// multiply-adds at the set's measured peak and the weights' bytes at the bandwidth of reading a
// buffer of their size.
// Usage: gemm_bench8 [set [rows...]]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "kernels/gemm/gemm.h"
#include "kernels/gemm8/gemm8.h"

namespace {

using namespace recstack;

// This thread's processor time: on a shared machine wall time counts the turns of others.
double now_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Layer {
  int64_t k, n;
};
constexpr Layer kLayers[] = {{512, 1024}, {1024, 512}, {1024, 1024}, {2560, 1024}, {256, 2560},
                             {64, 64},    {32, 64},    {200, 128},   {256, 1},     {13, 512}};

template <class T>
T* line_aligned(size_t bytes) {
  return static_cast<T*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64));
}

struct Floats {
  explicit Floats(size_t n) : data(line_aligned<float>(4 * n)) {
    for (size_t i = 0; i < n; ++i) data[i] = static_cast<float>(std::rand()) / RAND_MAX - 0.5f;
  }
  ~Floats() { std::free(data); }
  float* data;
};

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// Bytes per nanosecond of reading a warm buffer of so many bytes.
double read_bandwidth(size_t bytes) {
  const size_t words = std::max<size_t>(bytes / 64, 1) * 8;
  uint64_t* data = line_aligned<uint64_t>(8 * words);
  std::fill_n(data, words, 1);
  double best = 0;
  for (int round = 0; round < 15; ++round) {
    const int repeats = static_cast<int>(std::max<size_t>(1, (4 << 20) / (8 * words)));
    uint64_t sum = 0;
    const double start = now_ns();
    for (int i = 0; i < repeats; ++i) {
      for (size_t w = 0; w < words; w += 8) {
        asm volatile("vmovdqu64 (%0), %%zmm0" ::"r"(data + w) : "xmm0", "memory");
      }
      sum += data[i % words];
    }
    const double ns = now_ns() - start;
    if (sum > 0) best = std::max(best, 8.0 * static_cast<double>(words) * repeats / ns);
  }
  std::free(data);
  return best;
}

// Multiply-adds times two per nanosecond in 12 chains of vpdpbusd, or 10 of vpmaddwd and vpaddd.
double peak_gops(bool vnni) {
  double best = 0;
  for (int round = 0; round < 20; ++round) {
    constexpr int64_t kSteps = 20000;
    int64_t left = kSteps;
    const double start = now_ns();
    if (vnni) {
      asm volatile(
          "1:\n.irp r,0,1,2,3,4,5,6,7,8,9,10,11\nvpdpbusd %%zmm12, %%zmm13, %%zmm\\r\n.endr\n"
          "dec %0\njnz 1b\n"
          : "+r"(left)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
            "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13");
    } else {
      asm volatile(
          "1:\n.irp r,0,1,2,3,4,5,6,7,8,9\nvpmaddwd %%zmm30, %%zmm31, %%zmm1\\r\n.endr\n"
          ".irp r,0,1,2,3,4,5,6,7,8,9\nvpaddd %%zmm1\\r, %%zmm2\\r, %%zmm2\\r\n.endr\n"
          "dec %0\njnz 1b\n"
          : "+r"(left)::"cc", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16",
            "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",
            "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31");
    }
    best = std::max(best, kSteps * (vnni ? 12.0 * 128 : 10.0 * 64) / (now_ns() - start));
  }
  return best;
}

struct Result {
  double fp32_ns, int8_ns, floor_ns;
};

Result measure(Isa isa, int64_t rows, Layer shape, double peak) {
  const auto [k, n] = shape;
  const LayerKernels& wide = gemm_kernels(isa).of(WeightFormat::fp32);
  const Gemm8Kernels& narrow = gemm8_kernels(isa);
  Floats x(rows * k), w(n * k), bias(n), out(rows * n), out8(rows * n);
  Floats packed((wide.packed_bytes(n, k) + 3) / 4);
  wide.pack(w.data, n, k, k, packed.data);
  void* bytes = line_aligned<void>(narrow.packed_size(n, k, 0));
  const PackedLayer8 layer = narrow.pack_s8(w.data, n, k, k, nullptr, 0, bytes);
  const GemmArgs args = {x.data,           rows,     k, k, packed.data, n, bias.data,
                         Activation::relu, out.data, n};
  const Gemm8Args args8 = {.x = x.data,
                           .rows = rows,
                           .x_stride = k,
                           .layer = &layer,
                           .first = 0,
                           .n = n,
                           .range = nullptr,
                           .bias = bias.data,
                           .activation = Activation::relu,
                           .out = out8.data,
                           .out_stride = n};
  wide.gemm(args);
  narrow.gemm_u8s8(args8);
  // A product of k terms, each off by at most half a step of x and of w.
  const double tolerance = 0.01 * std::sqrt(static_cast<double>(k));
  for (int64_t i = 0; i < rows * n; ++i) {
    if (std::fabs(out.data[i] - out8.data[i]) > tolerance) {
      std::printf("wrong answer: rows %ld k %ld n %ld: %g, %g\n", rows, k, n, out.data[i],
                  out8.data[i]);
      std::exit(1);
    }
  }
  const double ops = 2.0 * rows * n * k;
  const int repeats = std::max(1, static_cast<int>(1e7 / ops));
  std::vector<double> ns, ns8;
  for (int round = 0; round < 21; ++round) {
    const double start = now_ns();
    for (int i = 0; i < repeats; ++i) wide.gemm(args);
    const double middle = now_ns();
    for (int i = 0; i < repeats; ++i) narrow.gemm_u8s8(args8);
    ns8.push_back((now_ns() - middle) / repeats);
    ns.push_back((middle - start) / repeats);
  }
  std::free(bytes);
  const double bandwidth = read_bandwidth(n * k);
  return {median(ns), median(ns8), std::max(ops / peak, n * k / bandwidth)};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<int64_t> rows_asked = {1, 4, 16, 64, 256};
  if (argc > 2) rows_asked.clear();
  for (int i = 2; i < argc; ++i) rows_asked.push_back(std::atoll(argv[i]));
  for (Isa isa : supported_isas()) {
    if (argc > 1 && std::strcmp(argv[1], isa_name(isa)) != 0) continue;
    const double peak = peak_gops(isa == Isa::avx512_bf16);
    std::printf("%s: int8 us (times as fast as fp32, share of the floor; peak %.0f GOP/s)\n%12s",
                isa_name(isa), peak, "k x n");
    for (int64_t rows : rows_asked) std::printf("%26ld", rows);
    std::printf("\n");
    for (Layer layer : kLayers) {
      char name[32];
      std::snprintf(name, sizeof name, "%ld x %ld", layer.k, layer.n);
      std::printf("%12s", name);
      for (int64_t rows : rows_asked) {
        const Result r = measure(isa, rows, layer, peak);
        std::printf("  %9.2f (%4.2fx, %3.0f%%)", 1e-3 * r.int8_ns, r.fp32_ns / r.int8_ns,
                    100 * r.floor_ns / r.int8_ns);
      }
      std::printf("\n");
    }
  }
}
