#include "peaks/measure.h"

#include <algorithm>

#include "core/aligned.h"
#include "kernels/gemm/gemm.h"
#include "peaks/rounds.h"

namespace recstack {
namespace {

constexpr int64_t kSteps = 50'000;                  // of multiply-adds: 0.2 ms
constexpr int64_t kRoundBytes = int64_t{16} << 20;  // 0.1 ms from L1, 0.5 ms from memory
constexpr int64_t kFloatBytes = sizeof(float);

// What one thread writes, on lines of its own.
std::vector<AlignedFloats> outputs(size_t threads, size_t floats) {
  std::vector<AlignedFloats> made;
  for (size_t i = 0; i < threads; ++i) {
    made.emplace_back(floats + 16);
    std::fill_n(made.back().data(), floats + 16, 0.0f);
  }
  return made;
}

// Where the next round of one thread starts to read, on a line of its own.
struct alignas(64) Position {
  int64_t next = 0;
  bool started = false;

  // Before the first round, reads the whole footprint: caches then hold what they will hold, and
  // nothing that an earlier measurement left.
  template <class Read>
  void once_around(Read read, int part) {
    if (started) return;
    started = true;
    for (int64_t last = -1; next > last;) {
      last = next;
      read(part);
    }
    next = 0;
  }
};

double per_unit(int64_t ns, int64_t units, const PeakRun& run) {
  return static_cast<double>(ns) /
         (static_cast<double>(units) * static_cast<double>(run.cores.size()));
}

}  // namespace

double measure_compute(const ComputeKernel& kernel, const PeakRun& run) {
  const std::vector<AlignedFloats> out = outputs(run.cores.size(), 16);
  const Contender contender = {
      .prepare = [&](int part) { std::fill_n(out[part].data(), 16, 0.0f); },
      .work = [&](int part) { kernel.run(kSteps, out[part].data()); }};
  const int64_t ns = fastest_ns(run.cores, run.budget_ns, {contender})[0];
  return per_unit(ns, kSteps * kernel.operations, run);
}

double measure_stream(Isa isa, const float* arena, int64_t footprint_bytes, const PeakRun& run) {
  const PeakKernels& kernels = peak_kernels(isa);
  const std::vector<AlignedFloats> out = outputs(run.cores.size(), 16);
  // A footprint that takes longer than a round is read on from where the last round ended.
  const int64_t segments = std::max<int64_t>(footprint_bytes / kRoundBytes, 1);
  const int64_t passes = std::max<int64_t>(kRoundBytes / footprint_bytes, 1);
  const int64_t floats = footprint_bytes / kFloatBytes;
  const int64_t segment = floats / segments / kReadStep * kReadStep;
  std::vector<Position> at(run.cores.size());
  const auto read = [&](int part) {
    const float* data = arena + part * floats + at[part].next * segment;
    kernels.read_f32(data, segment, passes, out[part].data());
    at[part].next = (at[part].next + 1) % segments;
  };
  const Contender contender = {.prepare = [&](int part) { at[part].once_around(read, part); },
                               .work = read};
  const int64_t ns = fastest_ns(run.cores, run.budget_ns, {contender})[0];
  return per_unit(ns, segment * kFloatBytes * passes, run);
}

int64_t LayerStack::bytes(Isa isa) const {
  return layers * static_cast<int64_t>(gemm_kernels(isa).of(WeightFormat::fp32).packed_bytes(n, k));
}

double measure_weights(Isa isa, const float* arena, const LayerStack& stack, const PeakRun& run) {
  const LayerKernels& kernels = gemm_kernels(isa).of(WeightFormat::fp32);
  const auto size = static_cast<int64_t>(kernels.packed_bytes(stack.n, stack.k) / kFloatBytes);
  const int64_t at_once = std::max<int64_t>(kRoundBytes / (size * kFloatBytes), 1);
  const std::vector<AlignedFloats> x = outputs(run.cores.size(), stack.k);
  const std::vector<AlignedFloats> out = outputs(run.cores.size(), stack.n);
  std::vector<Position> at(run.cores.size());
  const auto multiply = [&](int part) {
    int64_t& layer = at[part].next;
    for (int64_t i = 0; i < at_once; ++i, layer = layer + 1 < stack.layers ? layer + 1 : 0) {
      kernels.gemm({.x = x[part].data(),
                    .rows = 1,
                    .k = stack.k,
                    .x_stride = stack.k,
                    .packed = arena + (part * stack.layers + layer) * size,
                    .n = stack.n,
                    .bias = nullptr,
                    .activation = Activation::none,
                    .out = out[part].data(),
                    .out_stride = stack.n});
    }
  };
  const Contender contender = {.prepare = [&](int part) { at[part].once_around(multiply, part); },
                               .work = multiply};
  const int64_t ns = fastest_ns(run.cores, run.budget_ns, {contender})[0];
  return per_unit(ns, at_once * size * kFloatBytes, run);
}

}  // namespace recstack
