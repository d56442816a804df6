// Dense layers on packed fp32 weights, with bias and activation in the epilogue.
//
//   for r in rows: for j in n:
//     acc = start == null ? 0 : start[start_of_row[r] * start_stride + j]
//     for i in k, in order: acc = fma(x[r * x_stride + i], w[j * k + i], acc)
//     out[r * out_stride + j] = act(acc + bias[j])
//
// Accumulator: one fp32 chain per output in the order of i, whatever the number of rows, the tile
// or the blocking, so a row's result is bit for bit the same in every batch. Nothing needs
// alignment; nothing past n columns is written, nothing past k columns of x is read. `out` may not
// overlap x or start. Cost: 2 * rows * n * k FLOPs; 4 * (n * k + rows * (k + n)) bytes, and
// 4 * rows * n more to read `start`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace recstack {

enum class Activation { none, relu, sigmoid, tanh };

struct GemmArgs {
  const float* x;  // (rows, k), rows x_stride apart
  int64_t rows;
  int64_t k;
  int64_t x_stride;
  const float* packed;  // pack_f32's layout, 64-byte aligned
  int64_t n;
  const float* bias;  // (n,) or null
  Activation activation;
  float* out;  // (rows, n), rows out_stride apart
  int64_t out_stride;
  const float* start = nullptr;  // rows of n, start_stride apart; null: chains start from 0
  int64_t start_stride = 0;
  const int32_t* start_of_row = nullptr;  // (rows,): the row of `start` that a row goes on from
};

struct GemmKernels {
  // Columns [j, n) for a multiple j of this are a layer of their own, packed from j * k on.
  int64_t panel;
  // Floats that pack_f32 writes for weights of shape (n, k).
  size_t (*packed_size)(int64_t n, int64_t k);
  // w (n, k) with rows w_stride apart -> this instruction set's panels; `packed` 64-byte aligned.
  void (*pack_f32)(const float* w, int64_t n, int64_t k, int64_t w_stride, float* packed);
  void (*gemm_f32)(const GemmArgs&);
  // Unpacked and batched matrix product of small operands: out[i, j] = sum_t a[i, t] * b[t, j]
  // (b given by its two strides, so transposed operands need no copy). Same accumulation order.
  void (*matmul_f32)(const float* a, int64_t m, int64_t k, int64_t a_stride, const float* b,
                     int64_t b_row_stride, int64_t b_col_stride, int64_t n, float* out,
                     int64_t out_stride);
};

const GemmKernels& gemm_kernels(Isa isa);

}  // namespace recstack
