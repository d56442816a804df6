// What the weight formats round to, and sums of such numbers as kernels make them, bit for bit.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/act/act.h"
#include "kernels/gemm/gemm.h"

namespace recstack::test {

constexpr WeightFormat kFormats[] = {WeightFormat::fp32, WeightFormat::bf16, WeightFormat::fp16};
constexpr const char* kNames[] = {"fp32", "bf16", "fp16"};

// fp32 of so many bits of mantissa, the leading one counted, from 2^least on: to nearest, ties to
// even.
inline float rounded(float x, int bits, int least) {
  if (x == 0 || !std::isfinite(x)) return x;
  const int exponent = std::max(std::ilogb(x), least);
  return static_cast<float>(
      std::ldexp(std::nearbyint(std::ldexp(x, bits - 1 - exponent)), exponent + 1 - bits));
}

inline float as_weight(WeightFormat format, float w) {
  if (format == WeightFormat::bf16) return rounded(w, 8, -126);
  if (format == WeightFormat::fp16) return rounded(w, 11, -14);
  return w;
}

inline float as_input(WeightFormat format, float x) {
  return format == WeightFormat::bf16 ? rounded(x, 8, -126) : x;
}

// a * b + c: fused, in scalar rounded twice.
inline float fma_of(Isa isa, float a, float b, float c) {
  if (isa != Isa::scalar) return std::fma(a, b, c);
  const volatile float product = a * b;
  return product + c;
}

// n of each.
inline std::vector<float> as_weights(WeightFormat format, const float* w, int64_t n) {
  std::vector<float> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(as_weight(format, w[i]));
  return all;
}
inline std::vector<float> as_inputs(WeightFormat format, const float* x, int64_t n) {
  std::vector<float> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(as_input(format, x[i]));
  return all;
}

// sum + x @ w of rounded numbers, in the order that gemm.h has for the format.
inline float chain(Isa isa, WeightFormat format, const float* x, const float* w, int64_t k,
                   float sum = 0) {
  const bool pairs = format == WeightFormat::bf16;
  for (int64_t step = 0; step < k + k % 2; ++step) {
    const int64_t i = pairs ? step ^ 1 : step;
    if (i < k) sum = fma_of(isa, x[i], w[i], sum);
  }
  return sum;
}

// The kernels' own; act.h says how close to the exact one.
inline float unary_of(Isa isa, Unary fn, float x) {
  float y;
  act_kernels(isa).unary_f32(fn, &x, 1, &y);
  return y;
}

}  // namespace recstack::test
