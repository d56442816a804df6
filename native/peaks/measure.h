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

// Nanoseconds per lookup of all threads together, for each choice of hint and distance: sum-pooling
// rows of one table that the threads share, indices uniform and fresh in every round.
struct GatherTable {
  const float* data;
  int64_t rows;
  int64_t dim;  // as GatherArgs has it
};
struct PrefetchChoice {
  PrefetchHint hint;
  int64_t distance;
};
std::vector<double> measure_gather(Isa isa, const GatherTable& table,
                                   const std::vector<PrefetchChoice>& choices, uint64_t seed,
                                   const PeakRun& run);

}  // namespace recstack
