// The peaks of this machine, one figure at a time; recstack.machine.measure decides which.
//
// All run one thread per core of `cores`, for about `budget_ns`, and take the fastest round. The
// memory they read is the caller's `arena`: zeroed or holding ordinary numbers, and already
// touched, as reading untouched pages reads one shared page of zeros.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "core/isa.h"
#include "kernels/embag/embag.h"
#include "peaks/kernels.h"

namespace recstack {

struct PeakRun {
  std::vector<int> cores;
  int64_t budget_ns;
};

// Nanoseconds per operation of all threads together.
double measure_compute(const ComputeKernel& kernel, const PeakRun& run);

// Nanoseconds per byte of all threads together, each reading its own footprint_bytes of `arena`
// (a multiple of 4 * kReadStep) again and again.
double measure_stream(Isa isa, const float* arena, int64_t footprint_bytes, const PeakRun& run);

// Nanoseconds per byte of packed weights of all threads together: each multiplies one row with its
// own `layers` layers of shape (n, k), one after the other, again and again.
struct LayerStack {
  int64_t k, n, layers;
  int64_t bytes(Isa isa) const;  // of one thread, packed
};
double measure_weights(Isa isa, const float* arena, const LayerStack& stack, const PeakRun& run);

// Nanoseconds per lookup of all threads together, for each way to prefetch: sum-pooling rows of
// tables that the threads share, `lookups` a round and thread, all in one table; the next round's
// are in the next. Indices are uniform and fresh in every round. Rows are pooled by the engine's
// own bags; without a prefetch, by a loop that does nothing else.
struct GatherTables {
  const float* data;
  int64_t rows;  // of one table
  int64_t dim;   // as GatherArgs has it
  int64_t count;
  int64_t lookups;  // a multiple of kGatherBag
};
constexpr int64_t kGatherBag = 80;
std::vector<double> measure_gather(Isa isa, const GatherTables& tables,
                                   const std::vector<Prefetch>& choices, uint64_t seed,
                                   const PeakRun& run);

}  // namespace recstack
