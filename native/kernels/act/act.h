// Element-wise functions, normalisations and reductions of contiguous fp32 runs.
//
// Every element's result depends on its own inputs alone: tails run the same masked vector code as
// full vectors. exp, log, tanh, sigmoid, erf stay within 4 ulp of the exact result (sigmoid and
// tanh within 8 near saturation) over all finite inputs; NaN in gives NaN out; overflow gives
// infinity, underflow 0 (or a subnormal), as IEEE 754 has it. In place (out == an input) is
// allowed.
#pragma once

#include <cstdint>

#include "core/isa.h"

namespace recstack {

enum class Unary {
  relu,
  sigmoid,
  tanh,
  exp,
  log,
  sqrt,
  abs,
  neg,
  reciprocal,
  square,
  gelu /* erf form */,
  gelu_tanh,
  silu,
  softplus,
  elu /* alpha 1 */,
  erf,
  rsqrt,
  sign,
  floor,
  sin,
  cos
};
// Comparisons give 1 or 0. pow is std::pow; pow of a negative base by a non-integer is NaN.
enum class Binary { add, sub, mul, div, pow, maximum, minimum, eq, ne, lt, le, gt, ge };
enum class Reduce { sum, mean, max, min, norm2, prod };

struct ActKernels {
  void (*unary_f32)(Unary fn, const float* x, int64_t n, float* out);
  // An operand with step 0 is one value for the whole run; step 1 is an array of n.
  void (*binary_f32)(Binary fn, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     int64_t n, float* out);
  // min(max(x, low), high), NaN kept.
  void (*clamp_f32)(const float* x, int64_t n, float low, float high, float* out);
  // out[i] = condition[i] != 0 ? a[i] : b[i]; steps as for binary_f32.
  void (*where_f32)(const float* condition, int64_t condition_step, const float* a, int64_t a_step,
                    const float* b, int64_t b_step, int64_t n, float* out);
  // exp(x - max) / sum over each of `runs` runs of n, one behind the other; sums in a fixed order
  // for a given n. In place (out == x) allowed.
  void (*softmax_f32)(const float* x, int64_t n, int64_t runs, float* out);
  // (x - mean) / sqrt(variance + eps) * gamma + beta over the run; gamma and beta may be null.
  void (*layer_norm_f32)(const float* x, int64_t n, const float* gamma, const float* beta,
                         float eps, float* out);
  // x * scale + shift, element by element (batch norm that could not be folded).
  void (*affine_f32)(const float* x, const float* scale, const float* shift, int64_t n, float* out);
  // x > 0 ? x : slope * x; slope_step 0 or 1.
  void (*prelu_f32)(const float* x, const float* slope, int64_t slope_step, int64_t n, float* out);
  // p = sigmoid(x * scale + shift); x * (p + alpha * (1 - p)). DIN's Dice, batch norm folded to
  // scale and shift.
  void (*dice_f32)(const float* x, const float* scale, const float* shift, const float* alpha,
                   int64_t n, float* out);
  // One number over n elements, `step` floats apart; a fixed order for a given n. n == 0: sum 0.
  float (*reduce_f32)(Reduce fn, const float* x, int64_t n, int64_t step);
  // Column-wise over m runs of n contiguous elements, runs `stride` apart: out[j] = fn_i x[i, j].
  void (*reduce_columns_f32)(Reduce fn, const float* x, int64_t m, int64_t n, int64_t stride,
                             float* out);
  // Position of the first NaN or infinity in the run, or -1.
  int64_t (*find_non_finite_f32)(const float* x, int64_t n);
};

const ActKernels& act_kernels(Isa isa);

}  // namespace recstack
