#if defined(__x86_64__)
#include "peaks/dot-inl.h"
#include "peaks/kernels.h"

namespace recstack {
namespace {

// 16 lanes of four multiply-adds each, of unsigned by signed bytes into int32, which wraps.
void dot_int8(int64_t steps, float* out) {
  const __m512i x = _mm512_set1_epi8(static_cast<char>(1 + (out[0] != 0.0f)));
  dot_chains<__m512i>(
      steps, [](int i) { return _mm512_set1_epi32(i); },
      [x](__m512i acc) { return _mm512_dpbusd_epi32(acc, x, x); },
      [out](__m512i acc) {
        _mm512_storeu_ps(out, _mm512_add_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(out)));
      });
}

}  // namespace

extern const ComputeKernel avx512_vnni_kernel;
const ComputeKernel avx512_vnni_kernel = {
    .dtype = "int8", .isa = "avx512_vnni", .operations = kDotChains * 128, .run = dot_int8};

}  // namespace recstack
#endif
