// Weights to s8: panels of kPanel columns, what is left of n as one panel of one or two vectors;
// then scales, sums and outliers, each padded to whole panels.
#pragma once

#include "kernels/gemm/micro-inl.h"
#include "kernels/gemm8/dot-inl.h"
#include "kernels/gemm8/gemm8.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE int64_t panel_bytes(int64_t k) { return kPanel * round_up(k, kGroup); }

RECSTACK_INLINE int64_t weight_bytes(int64_t n, int64_t k) {
  const int64_t left = n % kPanel;
  const int64_t width = n - left + (left <= kLanes ? round_up(left, kLanes) : kPanel);
  return round_up(width * round_up(k, kGroup), 64);
}

size_t packed_size(int64_t n, int64_t k, int64_t outliers) {
  const int64_t floats = round_up(n, kPanel) * (2 + outliers) + outliers;
  return static_cast<size_t>(weight_bytes(n, k) + 4 * floats);
}

// One output's row of weights as s8, kGroup of them every `apart` bytes; outliers are 0.
void pack_output(const float* w, int64_t k, const int32_t* outliers, int64_t outlier_count,
                 int64_t apart, int8_t* packed, float* scale, int32_t* sum) {
  float largest = 0.0f;
  bool finite = true;
  for (int64_t i = 0, o = 0; i < k; ++i) {
    if (o < outlier_count && outliers[o] == i) {
      ++o;
      continue;
    }
    const float size = __builtin_fabsf(w[i]);
    finite = finite && size <= __FLT_MAX__;
    largest = size > largest ? size : largest;
  }
  *scale = finite ? largest / 127.0f : __builtin_nanf("");
  if (*scale < kSmallestScale) *scale = 0.0f;
  *sum = 0;
  for (int64_t i = 0, o = 0; i < k; ++i) {
    float q = 0.0f;
    if (o < outlier_count && outliers[o] == i) {
      ++o;
    } else if (*scale > 0.0f) {
      q = nearest(w[i] / *scale);
      q = q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q;
    }
    *sum += static_cast<int32_t>(q);
    packed[i / kGroup * apart + i % kGroup] = static_cast<int8_t>(q);
  }
}

PackedLayer8 pack_s8(const float* w, int64_t n, int64_t k, int64_t w_stride,
                     const int32_t* outliers, int64_t outlier_count, void* packed) {
  const int64_t padded = round_up(n, kPanel), bytes = weight_bytes(n, k);
  int8_t* weights = static_cast<int8_t*>(packed);
  float* scale = reinterpret_cast<float*>(weights + bytes);
  int32_t* sum = reinterpret_cast<int32_t*>(scale + padded);
  float* side = reinterpret_cast<float*>(sum + padded);
  int32_t* columns = reinterpret_cast<int32_t*>(side + outlier_count * padded);
  __builtin_memset(packed, 0, packed_size(n, k, outlier_count));
  for (int64_t j = 0; j < n; ++j) {
    const int64_t panel = j / kPanel * kPanel;
    const int64_t width = n - panel <= kLanes ? kLanes : kPanel;
    int8_t* to = weights + panel * round_up(k, kGroup) + (j - panel) * kGroup;
    pack_output(w + j * w_stride, k, outliers, outlier_count, width * kGroup, to, scale + j,
                sum + j);
    for (int64_t o = 0; o < outlier_count; ++o) {
      side[o * padded + j] = w[j * w_stride + outliers[o]];
    }
  }
  for (int64_t o = 0; o < outlier_count; ++o) columns[o] = outliers[o];
  return {n, k, weights, scale, sum, columns, outlier_count, side};
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
