#include "kernels/gemm8/gemm8.h"

namespace recstack {

namespace scalar {
extern const Gemm8Kernels gemm8_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const Gemm8Kernels gemm8_table;
}
namespace avx512 {
extern const Gemm8Kernels gemm8_table;
}
namespace avx512_bf16 {
extern const Gemm8Kernels gemm8_table;
}
#endif

const Gemm8Kernels& gemm8_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::avx512_bf16) return avx512_bf16::gemm8_table;
  if (isa == Isa::avx512) return avx512::gemm8_table;
  if (isa == Isa::avx2) return avx2::gemm8_table;
#endif
  (void)isa;
  return scalar::gemm8_table;
}

}  // namespace recstack
