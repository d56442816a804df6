// What the peaks are measured with: loops that do one thing as fast as an instruction set allows.
//
//   fma_f32(steps, out):   for s in steps: kChains independent acc = acc * b + c from registers
//   read_f32(data, n, passes, out):
//     for p in passes: for i in n, in order: acc += data[i]
//   gather_f32(args): sum-pools bags of `bag` rows:
//     for b in lookups / bag:
//       for l in bag b, in order: acc[d] += table[indices[l] * dim + d]
//       out[d] = acc[d]
//
// fp32 accumulators in many chains, so that latency never binds; the results go to `out` only so
// that the compiler keeps the work. `data` and `table` are 64-byte aligned; n is a multiple of
// kReadStep.
#pragma once

#include <cstdint>
#include <vector>

#include "core/isa.h"

namespace recstack {

constexpr int64_t kReadStep = 256;  // floats

struct GatherArgs {
  const float* table;
  int64_t dim;             // floats of a row: a multiple of 16 up to 64, or of 64
  const int32_t* indices;  // lookups of them, all in the table
  int64_t lookups;         // a multiple of bag
  int64_t bag;
  float* out;  // (dim,)
};

struct PeakKernels {
  int64_t fma_operations;                      // of one step; a multiply-add counts as 2
  void (*fma_f32)(int64_t steps, float* out);  // out: 16 floats
  void (*read_f32)(const float* data, int64_t n, int64_t passes, float* out);
  void (*gather_f32)(const GatherArgs&);
};

const PeakKernels& peak_kernels(Isa isa);

// Multiply-adds of one dtype with the widest instruction of one set, which may be narrower than
// what kernels are compiled for: "avx512_bf16" (vdpbf16ps), "avx512_vnni" (vpdpbusd).
struct ComputeKernel {
  const char* dtype;  // "fp32", "bf16" or "int8"
  const char* isa;
  int64_t operations;  // of one step
  void (*run)(int64_t steps, float* out);
};

// Those that this processor can run.
std::vector<ComputeKernel> compute_kernels();

}  // namespace recstack
