// What the weight formats round to, and by how much a kernel may miss sums made of such numbers.
#pragma once

#include <algorithm>
#include <cmath>

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

}  // namespace recstack::test
