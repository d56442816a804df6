// Dense layers of u8 activations and s8 weights, exact int32 sums, fp32 requantisation.
//
// Weights: symmetric, one scale per output. scale[j] = max |w[j]| / 127 (outliers left out),
// w8 = clamp(rne(w / scale[j]), -127, 127); a scale below kSmallestScale is 0, as are its w8.
// Activations: affine, one range (low, high) per row: its own values' smallest and largest with 0
// among them, or the layer's.
//
//   step = high / 255 - low / 255;  inverse = step < kSmallestScale ? 0 : 1 / step
//   zero = rne(clamp(-low * inverse, 0, 255))
//   for r in rows: for i in k:
//     q[i] = rne(clamp(x[r, i] * inverse, -zero, 255 - zero)) + zero
//   for j in n:
//     sum = 0; for i in k: sum += (q[i] - zero) * w8[j, i]            int32, exact, in any order
//     y = float(sum) * (step * scale[j])
//     if start: y = start[start_of_row[r], j] + y
//     for o in outliers, in order: y = y + x[r, o] * w[j, o]
//     out[r, j] = act(y + bias[j])
//
// Every fp32 operation above is rounded once and to nearest even, none is fused: results without
// sigmoid and tanh are the same bit for bit on every instruction set, and every row's are the same
// in every batch. Values outside a layer's range saturate. A row that holds NaN or infinity, in an
// outlier too, gives NaN in every output. k <= kMaxK, so that sums cannot overflow.
// Nothing needs alignment but `packed`; nothing past n columns is written, nothing past k columns
// of x is read. `out` may not overlap x or start: where k is large it holds partial sums.
// Cost: 2 * rows * n * k operations; n * k bytes of weights, 4 * rows * (k + n) of values; takes
// up to 148 KB of stack.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"
#include "kernels/gemm/gemm.h"

namespace recstack {

// q of a row and its sums: |sum| <= 255 * 127 * k < 2^31.
constexpr int64_t kMaxK = 65536;
constexpr float kSmallestScale = 0x1p-120f;

// One layer as pack_s8 laid it out.
struct PackedLayer8 {
  int64_t n;
  int64_t k;
  const int8_t* weights;    // panels of columns, each (k in groups, columns, group)
  const float* scale;       // (n rounded up to panels,)
  const int32_t* sum;       // the same: sums of each output's weights
  const int32_t* outliers;  // (outlier_count,) columns of x, ascending
  int64_t outlier_count;
  const float* side;  // (outlier_count, n rounded up to panels): the outliers' weights
};

// How one row is quantised; q as above.
struct RowScale8 {
  float step;
  float inverse;
  float zero;
};

struct Gemm8Args {
  const float* x;  // (rows, k), rows x_stride apart
  int64_t rows;
  int64_t x_stride;
  const PackedLayer8* layer;
  int64_t first;  // columns [first, first + n) of the layer; a multiple of `panel`
  int64_t n;
  const RowScale8* range;  // of all rows; null: each row has its own
  const float* bias;       // of column `first`; or null
  Activation activation;
  float* out;  // (rows, n), rows out_stride apart
  int64_t out_stride;
  const float* start = nullptr;  // rows of n, start_stride apart, or null
  int64_t start_stride = 0;
  const int32_t* start_of_row = nullptr;  // (rows,)
};

struct Gemm8Kernels {
  int64_t panel;
  // Bytes that pack_s8 writes.
  size_t (*packed_size)(int64_t n, int64_t k, int64_t outliers);
  // w (n, k) with rows w_stride apart and its outliers, ascending -> the layer, which lies in
  // `packed`, 64-byte aligned.
  PackedLayer8 (*pack_s8)(const float* w, int64_t n, int64_t k, int64_t w_stride,
                          const int32_t* outliers, int64_t outlier_count, void* packed);
  // The scale of values from low to high, as above.
  RowScale8 (*row_scale)(float low, float high);
  void (*gemm_u8s8)(const Gemm8Args&);
};

const Gemm8Kernels& gemm8_kernels(Isa isa);

}  // namespace recstack
