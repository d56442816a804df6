#if defined(__x86_64__)
#include "peaks/dot-inl.h"
#include "peaks/kernels.h"

namespace recstack {
namespace {

// 16 lanes of two multiply-adds each. Every factor is 2^-8, so that sums stay small and exact.
void dot_bf16(int64_t steps, float* out) {
  const __m512bh x = (__m512bh)_mm512_set1_epi16(0x3B80 + (out[0] != 0.0f));
  dot_chains<__m512>(
      steps, [](int i) { return _mm512_set1_ps(static_cast<float>(i)); },
      [x](__m512 acc) { return _mm512_dpbf16_ps(acc, x, x); },
      [out](__m512 acc) { _mm512_storeu_ps(out, _mm512_add_ps(acc, _mm512_loadu_ps(out))); });
}

}  // namespace

extern const ComputeKernel avx512_bf16_kernel;
const ComputeKernel avx512_bf16_kernel = {
    .dtype = "bf16", .isa = "avx512_bf16", .operations = kDotChains * 64, .run = dot_bf16};

}  // namespace recstack
#endif
