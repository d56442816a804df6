// Peaks: one figure per call, measured without the GIL; arguments are checked here.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string_view>

#include "peaks/measure.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace recstack {
namespace {

using Arena = nb::ndarray<const uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Isa isa_of(const std::string& name) {
  const std::optional<Isa> isa = isa_from_name(name);
  if (!isa || !isa_supported(*isa)) {
    throw nb::value_error(("expected a supported instruction set, got '" + name + "'").c_str());
  }
  return *isa;
}

void expect(bool held, const char* what) {
  if (!held) throw nb::value_error(what);
}

PeakRun run_of(std::vector<int> cores, int64_t budget_ns) {
  expect(!cores.empty(), "expected at least one core");
  return {.cores = std::move(cores), .budget_ns = budget_ns};
}

// The arena's floats, of which `bytes` must be there.
const float* floats_of(const Arena& arena, int64_t bytes) {
  expect(reinterpret_cast<uintptr_t>(arena.data()) % 64 == 0, "expected a 64-byte aligned arena");
  if (bytes > static_cast<int64_t>(arena.size())) {
    throw nb::value_error(("expected an arena of " + std::to_string(bytes) + " bytes, got " +
                           std::to_string(arena.size()))
                              .c_str());
  }
  return reinterpret_cast<const float*>(arena.data());
}

PrefetchHint hint_of(const std::string& name) {
  if (name == "none") return PrefetchHint::none;
  if (name == "T0") return PrefetchHint::t0;
  if (name == "T1") return PrefetchHint::t1;
  if (name == "NTA") return PrefetchHint::nta;
  throw nb::value_error(("expected hint none, T0, T1 or NTA, got '" + name + "'").c_str());
}

double peak_compute(const std::string& dtype, const std::string& isa, std::vector<int> cores,
                    int64_t budget_ns) {
  const PeakRun run = run_of(std::move(cores), budget_ns);
  for (const ComputeKernel& kernel : compute_kernels()) {
    if (dtype != kernel.dtype || isa != kernel.isa) continue;
    nb::gil_scoped_release release;
    return measure_compute(kernel, run);
  }
  throw nb::value_error(("no multiply-add of " + dtype + " on '" + isa + "' here").c_str());
}

double peak_stream(const std::string& isa, const Arena& arena, int64_t footprint_bytes,
                   std::vector<int> cores, int64_t budget_ns) {
  const PeakRun run = run_of(std::move(cores), budget_ns);
  expect(footprint_bytes > 0 && footprint_bytes % (kReadStep * int64_t{sizeof(float)}) == 0,
         "expected a footprint that is a positive multiple of 1024 bytes");
  const float* data = floats_of(arena, footprint_bytes * static_cast<int64_t>(run.cores.size()));
  const Isa set = isa_of(isa);
  nb::gil_scoped_release release;
  return measure_stream(set, data, footprint_bytes, run);
}

double peak_weights(const std::string& isa, const Arena& arena, int64_t k, int64_t n,
                    int64_t layers, std::vector<int> cores, int64_t budget_ns) {
  const PeakRun run = run_of(std::move(cores), budget_ns);
  const Isa set = isa_of(isa);
  expect(k > 0 && n > 0 && k * n % 16 == 0 && layers > 0,
         "expected layers whose weights fill whole cache lines");
  const LayerStack stack = {.k = k, .n = n, .layers = layers};
  const float* data = floats_of(arena, stack.bytes(set) * static_cast<int64_t>(run.cores.size()));
  nb::gil_scoped_release release;
  return measure_weights(set, data, stack, run);
}

std::vector<double> peak_gather(
    const std::string& isa, const Arena& arena, int64_t footprint_bytes, int64_t row_bytes,
    int64_t tables, int64_t lookups,
    const std::vector<std::tuple<std::string, int64_t, int64_t>>& choices, uint64_t seed,
    std::vector<int> cores, int64_t budget_ns) {
  const PeakRun run = run_of(std::move(cores), budget_ns);
  const Isa set = isa_of(isa);
  expect(row_bytes > 0 && row_bytes % (row_bytes > 256 ? 256 : 64) == 0,
         "expected row_bytes a multiple of 64 up to 256, or of 256");
  expect(tables > 0, "expected tables");
  expect(lookups > 0 && lookups % kGatherBag == 0, "expected lookups a multiple of 80");
  const GatherTables split = {.data = floats_of(arena, footprint_bytes),
                              .rows = footprint_bytes / tables / row_bytes,
                              .dim = row_bytes / int64_t{sizeof(float)},
                              .count = tables,
                              .lookups = lookups};
  expect(split.rows > 0 && split.rows < INT32_MAX, "expected between 1 and 2^31 - 2 rows");
  std::vector<Prefetch> asked;
  for (const auto& [name, distance, burst] : choices) {
    const PrefetchHint hint = hint_of(name);
    const int64_t least = hint == PrefetchHint::none ? 0 : 1;
    expect(distance >= least && distance <= Prefetch::kMaxDistance,
           "expected a distance in [1, 128], or none");
    expect(burst >= least && burst <= Prefetch::kMaxBurst, "expected a burst in [1, 128], or none");
    asked.push_back({.hint = hint, .distance = distance, .burst = burst});
  }
  nb::gil_scoped_release release;
  return measure_gather(set, split, asked, seed, run);
}

}  // namespace

void bind_peaks(nb::module_& m) {
  m.def("compute_peaks", [] {
    std::vector<std::pair<std::string, std::string>> found;
    for (const ComputeKernel& kernel : compute_kernels())
      found.emplace_back(kernel.dtype, kernel.isa);
    return found;
  });
  m.def("peak_compute", &peak_compute, "dtype"_a, "isa"_a, "cores"_a, "budget_ns"_a);
  m.def("peak_stream", &peak_stream, "isa"_a, "arena"_a, "footprint_bytes"_a, "cores"_a,
        "budget_ns"_a);
  m.def("peak_weights", &peak_weights, "isa"_a, "arena"_a, "k"_a, "n"_a, "layers"_a, "cores"_a,
        "budget_ns"_a);
  m.def("peak_gather", &peak_gather, "isa"_a, "arena"_a, "footprint_bytes"_a, "row_bytes"_a,
        "tables"_a, "lookups"_a, "choices"_a, "seed"_a, "cores"_a, "budget_ns"_a);
}

}  // namespace recstack
