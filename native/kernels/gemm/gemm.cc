#include "kernels/gemm/gemm.h"

#include "kernels/gemm/tables.h"

namespace recstack {

const GemmKernels& gemm_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512_bf16) {
    static const GemmKernels kernels = {
        {avx512::fp32_layers, avx512_bf16::bf16_layers, avx512::fp16_layers}, avx512::matmul};
    return kernels;
  }
  if (isa == Isa::avx512) {
    static const GemmKernels kernels = {
        {avx512::fp32_layers, avx512::bf16_layers, avx512::fp16_layers}, avx512::matmul};
    return kernels;
  }
  if (isa == Isa::avx2) {
    static const GemmKernels kernels = {{avx2::fp32_layers, avx2::bf16_layers, avx2::fp16_layers},
                                        avx2::matmul};
    return kernels;
  }
#endif
  (void)isa;
  static const GemmKernels kernels = {
      {scalar::fp32_layers, scalar::bf16_layers, scalar::fp16_layers}, scalar::matmul};
  return kernels;
}

}  // namespace recstack
