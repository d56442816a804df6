// Dense layers on packed weights of one of several formats, with bias and activation in the
// epilogue.
//
//   for r in rows: for j in n:
//     acc = start == null ? 0 : start[start_of_row[r] * start_stride + j]
//     fp32:  for i in k, in order: acc = fma(x[r * x_stride + i], w[j * k + i], acc)
//     fp16:  the same with weights rounded to fp16 when they are packed; x stays fp32
//     bf16:  weights rounded to bf16 when they are packed, x when it is read; pairs in order, the
//            second of a pair first, an odd k filled up with 0:
//       for t in (k + 1) / 2:
//         acc = fma(bf16(x[2t + 1]), bf16(w[2t + 1]), acc)
//         acc = fma(bf16(x[2t]),     bf16(w[2t]),     acc)
//     out[r * out_stride + j] = act(acc + bias[j])
//
// Rounding is to nearest, ties to even; fp16 weights past 65504 become infinite.
// Accumulator: one fp32 chain per output in the order above, whatever the number of rows, the tile
// or the blocking, so a row's result is bit for bit the same in every batch. bf16: products are
// exact, so every instruction set makes the same bits, but that avx512_bf16 (vdpbf16ps) takes
// denormals for 0, in what it reads and in what it makes. NaN and infinity pass as in fp32.
// Nothing needs alignment; nothing past n columns is written, nothing past k columns of x is read.
// `out` may not overlap x or start. Cost: 2 * rows * n * k FLOPs, bf16 on avx512_bf16 at twice the
// rate; 4 * rows * (k + n) bytes and n * k weights of 4 or 2; 4 * rows * n more to read `start`.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/isa.h"

namespace recstack {

enum class Activation { none, relu, sigmoid, tanh };

// What weights are packed as.
enum class WeightFormat { fp32, bf16, fp16 };

struct GemmArgs {
  const float* x;  // (rows, k), rows x_stride apart
  int64_t rows;
  int64_t k;
  int64_t x_stride;
  const void* packed;  // pack's layout, 64-byte aligned
  int64_t n;
  const float* bias;  // (n,) or null
  Activation activation;
  float* out;  // (rows, n), rows out_stride apart
  int64_t out_stride;
  const float* start = nullptr;  // rows of n, start_stride apart; null: chains start from 0
  int64_t start_stride = 0;
  const int32_t* start_of_row = nullptr;  // (rows,): the row of `start` that a row goes on from
};

// One weight format on one instruction set.
struct LayerKernels {
  // Columns [j, n) for a multiple j of this are a layer of their own, packed from byte
  // packed_bytes(j, k) on.
  int64_t panel;
  // Bytes that pack writes for weights of shape (n, k).
  size_t (*packed_bytes)(int64_t n, int64_t k);
  // w (n, k) with rows w_stride apart -> this instruction set's panels; `packed` 64-byte aligned.
  void (*pack)(const float* w, int64_t n, int64_t k, int64_t w_stride, void* packed);
  void (*gemm)(const GemmArgs&);
};

struct GemmKernels {
  LayerKernels layers[3];  // by WeightFormat
  // Unpacked and batched matrix product of small operands: out[i, j] = sum_t a[i, t] * b[t, j]
  // (b given by its two strides, so transposed operands need no copy). fp32's accumulation order.
  void (*matmul_f32)(const float* a, int64_t m, int64_t k, int64_t a_stride, const float* b,
                     int64_t b_row_stride, int64_t b_col_stride, int64_t n, float* out,
                     int64_t out_stride);

  const LayerKernels& of(WeightFormat format) const { return layers[static_cast<int>(format)]; }
};

const GemmKernels& gemm_kernels(Isa isa);

}  // namespace recstack
