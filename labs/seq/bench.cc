// What the sequence kernels and the interactions reach of the FMA peak, set by set. Every set's
// answer is checked against the scalar one before it is timed. Usage: seq_bench [set]
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <memory>
#include <vector>

#include "kernels/act/act.h"
#include "kernels/interact/interact.h"
#include "kernels/seq/seq.h"

namespace {

using namespace recstack;
constexpr double kPeak = 117;  // GFLOP/s, labs/gemm's measurement

// This thread's processor time: on a shared machine wall time counts the turns of others.
double now_ns() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

struct Buffer {
  explicit Buffer(size_t n, float low = -0.5f, float high = 0.5f)
      : size(n), data(static_cast<float*>(std::aligned_alloc(64, (4 * n + 127) / 64 * 64))) {
    for (size_t i = 0; i < n; ++i) {
      data[i] = low + (high - low) * static_cast<float>(std::rand()) / RAND_MAX;
    }
  }
  Buffer(const Buffer&) = delete;
  ~Buffer() { std::free(data); }
  size_t size;
  float* data;
};

double median_ns(const std::function<void()>& run) {
  double start = now_ns();
  run();
  const int repeats = static_cast<int>(5e5 / (now_ns() - start)) + 1;
  std::vector<double> rounds;
  for (int round = 0; round < 31; ++round) {
    start = now_ns();
    for (int i = 0; i < repeats; ++i) run();
    rounds.push_back((now_ns() - start) / repeats);
  }
  std::nth_element(rounds.begin(), rounds.begin() + 15, rounds.end());
  return rounds[15];
}

// One kernel on one shape: `run` writes `out`; flops as the kernel's chains have them, per run.
void report(const char* name, Isa isa, const Buffer& out, double flops, double per,
            const std::function<void(Isa)>& run, float tolerance = 1e-4f) {
  run(Isa::scalar);
  const std::vector<float> want(out.data, out.data + out.size);
  run(isa);
  for (size_t i = 0; i < out.size; ++i) {
    if (std::fabs(out.data[i] - want[i]) > tolerance * (1 + std::fabs(want[i]))) {
      std::printf("%s: wrong answer at %zu: %g, not %g\n", name, i, out.data[i], want[i]);
      std::exit(1);
    }
  }
  const double ns = median_ns([&] { run(isa); });
  std::printf("%-34s %9.2f us  %8.1f ns each", name, ns / 1e3, ns / per);
  if (flops > 0) std::printf("  %6.1f GFLOP/s (%3.0f%%)", flops / ns, 100 * flops / ns / kPeak);
  std::printf("\n");
}

constexpr const char* kFormats[] = {"fp32", "bf16", "fp16"};  // by WeightFormat
constexpr const char* kUnitFormats[] = {"fp32", "bf16", "int8"};
// Between sets: a value close to the middle of two bf16 may round either way.
constexpr float kTolerance[] = {1e-4f, 2e-2f, 1e-4f};

void activations(Isa isa) {
  constexpr int64_t kN = 2048;
  Buffer x(kN, -4, 4), y(kN), ones(kN, 0.9f, 1.1f);
  const double vectors = kN / 16.0;
  const auto unary = [&](const char* name, Unary fn) {
    report(name, isa, y, 0, vectors,
           [&](Isa set) { act_kernels(set).unary_f32(fn, x.data, kN, y.data); });
  };
  unary("exp, per 16", Unary::exp);
  unary("sigmoid, per 16", Unary::sigmoid);
  unary("tanh, per 16", Unary::tanh);
  report("dice, per 16", isa, y, 0, vectors, [&](Isa set) {
    act_kernels(set).dice_f32(x.data, ones.data, x.data, ones.data, kN, y.data);
  });
  report("softmax of 64, per 16", isa, y, 0, vectors, [&](Isa set) {
    for (int64_t i = 0; i < kN; i += 64)
      act_kernels(set).softmax_f32(x.data + i, 64, 1, y.data + i);
  });
}

// Layers of these widths with Dice, and a score, over positions of `dim`; one history for all rows.
// int8: all layers but the last. The keys' panels, once per history, are in the time where `keyed`.
void unit(Isa isa, int64_t rows, int format, int64_t positions, int64_t dim,
          std::vector<int64_t> widths, bool keyed = false) {
  const bool int8 = format == 2;
  widths.push_back(1);
  Buffer keys(positions * dim), query(rows * dim), bias(256), out(rows * positions);
  Buffer panels(unit_panels_size(positions, dim, int8, 0)), product(widths[0] * dim);
  const std::vector<int32_t> entry(rows, 0);
  std::vector<std::unique_ptr<Buffer>> weights, packed;
  Buffer packed_product(1 << 16);
  char name[96];
  int at =
      std::snprintf(name, sizeof name, "unit %ld%s x (%ld", positions, keyed ? "+keys" : "", dim);
  double flops = 0;
  for (int64_t l = 0, k = dim; l < static_cast<int64_t>(widths.size()); k = widths[l++]) {
    weights.push_back(std::make_unique<Buffer>(widths[l] * k));
    packed.push_back(std::make_unique<Buffer>(1 << 16));
    flops += 2.0 * rows * positions * widths[l] * k;
    at += std::snprintf(name + at, sizeof name - at, "-%ld", widths[l]);
  }
  std::snprintf(name + at, sizeof name - at, "), %ld rows, %s", rows, kUnitFormats[format]);
  Isa ready = Isa::avx512;
  bool first = true;
  std::vector<UnitLayer> layers;
  const auto panel = [&](const UnitKernels& kernels) {
    kernels.key_panels(
        {.keys = keys.data, .positions = positions, .dim = dim, .panels = panels.data});
  };
  report(
      name, isa, out, flops, static_cast<double>(rows),
      [&](Isa set) {
        const UnitKernels& kernels = seq_kernels(set).unit[format];
        if (first || ready != set) {
          panel(kernels);
          kernels.pack(product.data, widths[0], dim, packed_product.data);
          layers.clear();
          int64_t k = dim;
          for (size_t l = 0; l < widths.size(); k = widths[l++]) {
            const bool last = l + 1 == widths.size();
            const UnitKernels& own = int8 && last ? seq_kernels(set).unit[0] : kernels;
            (l == 0 ? own.pack : own.pack_later)(weights[l]->data, widths[l], k, packed[l]->data);
            layers.push_back({widths[l], k, packed[l]->data, l == 0 ? packed_product.data : nullptr,
                              nullptr, last ? UnitActivation::none : UnitActivation::dice,
                              bias.data, bias.data, bias.data, int8 && !last});
          }
          first = false;
          ready = set;
        }
        if (keyed) panel(kernels);
        kernels.attention_unit({query.data, dim, panels.data, 0, false, entry.data(), bias.data, 0,
                                layers.data(), static_cast<int64_t>(layers.size()), rows, positions,
                                UnitResult::scores, out.data, positions});
      },
      kTolerance[format] + (int8 ? 1e-2f : 0));
}

// DIEN's shapes: 40 positions, 64 hidden.
void recurrence(Isa isa, int64_t rows, int format) {
  constexpr int64_t kT = 40, kHidden = 64;
  Buffer xg(rows * kT * 3 * kHidden), w(3 * kHidden * kHidden, -0.1f, 0.1f), bias(3 * kHidden);
  Buffer state(rows * 3 * kHidden), out(rows * kHidden), attention(rows * kT), packed(3 * 64 * 64);
  char name[64];
  std::snprintf(name, sizeof name, "augru 40 x 64, %ld rows, per step, %s", rows, kFormats[format]);
  Isa ready = Isa::avx512;
  bool first = true;
  report(
      name, isa, out, 2.0 * rows * (kT - 1) * 3 * kHidden * kHidden, static_cast<double>(rows * kT),
      [&](Isa set) {
        const RecurrenceKernels& kernels = seq_kernels(set).recurrence[format];
        if (first || ready != set) kernels.pack(w.data, kHidden, packed.data);
        first = false;
        ready = set;
        RecurrenceArgs args = {};
        args.xg = xg.data;
        args.xg_stride = kT * 3 * kHidden;
        args.packed = packed.data;
        args.bias = bias.data;
        args.attention = attention.data;
        args.attention_stride = kT;
        args.rows = rows;
        args.positions = kT;
        args.hidden = kHidden;
        args.out = out.data;
        args.out_stride = kHidden;
        args.state = state.data;
        args.state_stride = 3 * kHidden;
        kernels.recurrence(args);
      },
      kTolerance[format]);
}

void dot(Isa isa, int64_t rows, int64_t features, int64_t dim) {
  Buffer x(rows * features * dim), out(rows * features * (features - 1) / 2);
  char name[64];
  std::snprintf(name, sizeof name, "dot %ld x %ld, %ld rows", features, dim, rows);
  report(name, isa, out, static_cast<double>(rows * features * (features - 1) * dim),
         static_cast<double>(rows), [&](Isa set) {
           interact_kernels(set).dot_f32({x.data, rows, features, dim, features * dim,
                                          PairOrder::lower, false, out.data,
                                          features * (features - 1) / 2});
         });
}

void cross(Isa isa, int64_t rows, int64_t n) {
  Buffer x0(rows * n), x(rows * n), y(rows * n), out(rows * n);
  char name[64];
  std::snprintf(name, sizeof name, "cross %ld, %ld rows", n, rows);
  report(name, isa, out, 2.0 * rows * n, static_cast<double>(rows), [&](Isa set) {
    interact_kernels(set).cross_f32(x0.data, n, y.data, n, x.data, n, rows, n, out.data, n);
  });
}

}  // namespace

int main(int argc, char** argv) {
  for (Isa isa : supported_isas()) {
    if (argc > 1 && std::strcmp(argv[1], isa_name(isa)) != 0) continue;
    std::printf("%s\n", isa_name(isa));
    activations(isa);
    for (int64_t rows : {1, 16, 64}) {
      for (int format : {0, 1, 2}) unit(isa, rows, format, 250, 32, {36});
    }
    for (int format : {0, 1, 2}) unit(isa, 1, format, 250, 32, {36}, true);
    for (int format : {0, 1, 2}) unit(isa, 16, format, 250, 32, {80, 40});
    for (int format : {0, 1, 2}) unit(isa, 16, format, 100, 64, {80, 40});
    for (int64_t rows : {1, 4, 16, 64}) {
      for (int format : {0, 1, 2}) recurrence(isa, rows, format);
    }
    for (int64_t rows : {1, 64}) dot(isa, rows, 27, 128);
    for (int64_t rows : {1, 64}) dot(isa, rows, 9, 32);
    for (int64_t rows : {1, 64}) cross(isa, rows, 3456);
  }
}
