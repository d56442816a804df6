// Feature interactions.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace recstack {

// Pairs of F vectors of one row. lower: (1,0) (2,0) (2,1) ...; upper: (0,1) (0,2) ... (1,2) ...
// With self_pairs the diagonal belongs to the triangle, in the same row-major order.
enum class PairOrder { lower, upper };

struct DotArgs {
  const float* x;  // (rows, features, dim): rows x_stride apart, features dim apart
  int64_t rows;
  int64_t features;
  int64_t dim;
  int64_t x_stride;
  PairOrder order;
  bool self_pairs;
  float* out;  // (rows, pairs), rows out_stride apart
  int64_t out_stride;
};

struct InteractKernels {
  // out[r, p] = sum_d x[r, i_p, d] * x[r, j_p, d]. Accumulator: a fixed number of fp32 lanes over
  // d, reduced in a fixed tree; does not depend on rows. Cost: 2 * pairs * dim FLOPs per row.
  void (*dot_f32)(const DotArgs&);
  // out[r, j] = fma(x0[r, j], y[r, j], x[r, j]): the end of a DCNv2 cross layer; y has bias added.
  void (*cross_f32)(const float* x0, int64_t x0_stride, const float* y, int64_t y_stride,
                    const float* x, int64_t x_stride, int64_t rows, int64_t n, float* out,
                    int64_t out_stride);
};

const InteractKernels& interact_kernels(Isa isa);

}  // namespace recstack
