// The loops that peaks are measured with do what they are timed for.
#include <sched.h>

#include <atomic>
#include <cmath>
#include <stdexcept>
#include <vector>

#include "check.h"
#include "core/aligned.h"
#include "peaks/kernels.h"
#include "peaks/measure.h"
#include "peaks/rounds.h"

namespace {

using recstack::AlignedFloats;
using recstack::Isa;

// Small whole numbers: sums are exact in any order.
AlignedFloats counting(int64_t n) {
  AlignedFloats made(n);
  for (int64_t i = 0; i < n; ++i) made.data()[i] = static_cast<float>(i % 61);
  return made;
}

void a_read_sums_every_float_once_a_pass() {
  const AlignedFloats data = counting(4 * recstack::kReadStep);
  double want = 0;
  for (size_t i = 0; i < data.size(); ++i) want += data.data()[i];
  for (const Isa isa : recstack::supported_isas()) {
    recstack::test::context = recstack::isa_name(isa);
    float out[16] = {};
    recstack::peak_kernels(isa).read_f32(data.data(), data.size(), 3, out);
    CHECK_NEAR(out[0], 3 * want, 0);
  }
}

void a_gather_pools_the_last_bag() {
  constexpr int64_t kRows = 37, kBag = 5, kLookups = 20;
  std::vector<int32_t> indices(kLookups);
  for (size_t i = 0; i < indices.size(); ++i) indices[i] = static_cast<int32_t>(i * 11 % kRows);
  for (const int64_t dim : {16, 32, 48, 64, 128, 192}) {
    const AlignedFloats table = counting(kRows * dim);
    for (const Isa isa : recstack::supported_isas()) {
      recstack::test::context =
          std::string(recstack::isa_name(isa)) + " dim=" + std::to_string(dim);
      AlignedFloats out(dim);
      recstack::peak_kernels(isa).gather_f32({.table = table.data(),
                                              .dim = dim,
                                              .indices = indices.data(),
                                              .lookups = kLookups,
                                              .bag = kBag,
                                              .out = out.data()});
      for (int64_t d = 0; d < dim; ++d) {
        float want = 0;
        for (int64_t l = kLookups - kBag; l < kLookups; ++l) {
          want += table.data()[indices[l] * dim + d];
        }
        CHECK_NEAR(out.data()[d], want, 0);
      }
    }
  }
}

// Were a step skipped or folded away, more steps would give the same.
void multiply_adds_depend_on_every_step() {
  for (const recstack::ComputeKernel& kernel : recstack::compute_kernels()) {
    recstack::test::context = std::string(kernel.dtype) + " " + kernel.isa;
    CHECK(kernel.operations > 0);
    AlignedFloats few(16), more(16);
    for (int i = 0; i < 16; ++i) few.data()[i] = more.data()[i] = 0.0f;
    kernel.run(3, few.data());
    kernel.run(5, more.data());
    bool differ = false;
    for (int i = 0; i < 16; ++i) {
      CHECK(std::isfinite(few.data()[i]) && std::isfinite(more.data()[i]));
      differ |= few.data()[i] != more.data()[i];
    }
    CHECK(differ);
  }
}

void every_contender_has_its_rounds_on_every_core() {
  for (const size_t threads : {1, 3}) {
    const std::vector<int> cores(threads, sched_getcpu());
    std::atomic<int> prepared{0}, first{0}, second{0};
    const std::vector<int64_t> ns = recstack::fastest_ns(
        cores, 0,
        {{.prepare = [&](int) { ++prepared; }, .work = [&](int) { ++first; }},
         {.prepare = nullptr, .work = [&](int part) { second += part < 3 ? 1 : 100; }}});
    CHECK(ns.size() == 2 && ns[0] > 0 && ns[1] > 0);
    CHECK_EQ(prepared.load(), first.load());
    CHECK_EQ(first.load(), second.load());
    CHECK(first.load() >= static_cast<int>(2 * threads));
  }
}

void a_core_that_is_not_there_is_an_error() {
  bool raised = false;
  try {
    recstack::fastest_ns({60000}, 0, {{.prepare = nullptr, .work = [](int) {}}});
  } catch (const std::runtime_error&) {
    raised = true;
  }
  CHECK(raised);
}

void every_measurement_gives_a_positive_figure() {
  const AlignedFloats arena = counting(1 << 20);
  const recstack::PeakRun run{.cores = {sched_getcpu(), sched_getcpu()}, .budget_ns = 0};
  for (const Isa isa : recstack::supported_isas()) {
    recstack::test::context = recstack::isa_name(isa);
    CHECK(recstack::measure_stream(isa, arena.data(), 1 << 20, run) > 0);
    CHECK(recstack::measure_weights(isa, arena.data(), {.k = 64, .n = 64, .layers = 3}, run) > 0);
    const std::vector<double> ns = recstack::measure_gather(
        isa, {.data = arena.data(), .rows = 1000, .dim = 64, .count = 3, .lookups = 160},
        {{recstack::PrefetchHint::none, 0, 0},
         {recstack::PrefetchHint::t1, 33, 1},
         {recstack::PrefetchHint::nta, 16, 128}},
        1, run);
    CHECK(ns.size() == 3 && ns[0] > 0 && ns[1] > 0 && ns[2] > 0);
  }
}

}  // namespace

int main() {
  a_read_sums_every_float_once_a_pass();
  a_gather_pools_the_last_bag();
  multiply_adds_depend_on_every_step();
  every_contender_has_its_rounds_on_every_core();
  a_core_that_is_not_there_is_an_error();
  every_measurement_gives_a_positive_figure();
  return recstack::test::finish();
}
