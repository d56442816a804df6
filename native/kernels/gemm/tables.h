// The tables of every instruction set, which gemm.cc puts together.
#pragma once

#include "kernels/gemm/gemm.h"

namespace recstack {

using MatmulKernel = decltype(GemmKernels::matmul_f32);

#define RECSTACK_GEMM_TABLES(set)        \
  namespace set {                        \
  extern const LayerKernels fp32_layers; \
  extern const LayerKernels bf16_layers; \
  extern const LayerKernels fp16_layers; \
  extern const MatmulKernel matmul;      \
  }
RECSTACK_GEMM_TABLES(scalar)
RECSTACK_GEMM_TABLES(avx2)
RECSTACK_GEMM_TABLES(avx512)
namespace avx512_bf16 {  // the others are avx512's
extern const LayerKernels bf16_layers;
}
#undef RECSTACK_GEMM_TABLES

}  // namespace recstack
