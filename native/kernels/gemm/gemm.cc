#include "kernels/gemm/gemm.h"

namespace recstack {

namespace scalar {
extern const GemmKernels gemm_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const GemmKernels gemm_table;
}
namespace avx512 {
extern const GemmKernels gemm_table;
}
#endif

const GemmKernels& gemm_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::gemm_table;
  if (isa == Isa::avx2) return avx2::gemm_table;
#endif
  (void)isa;
  return scalar::gemm_table;
}

}  // namespace recstack
