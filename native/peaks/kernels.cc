#include "peaks/kernels.h"

namespace recstack {

namespace scalar {
extern const PeakKernels peak_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const PeakKernels peak_table;
}
namespace avx512 {
extern const PeakKernels peak_table;
}
extern const ComputeKernel avx512_bf16_kernel;
extern const ComputeKernel avx512_vnni_kernel;
#endif

const PeakKernels& peak_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::peak_table;
  if (isa == Isa::avx2) return avx2::peak_table;
#endif
  (void)isa;
  return scalar::peak_table;
}

std::vector<ComputeKernel> compute_kernels() {
  std::vector<ComputeKernel> found;
  for (const Isa isa : supported_isas()) {
    const PeakKernels& kernels = peak_kernels(isa);
    found.push_back({.dtype = "fp32",
                     .isa = isa_name(isa),
                     .operations = kernels.fma_operations,
                     .run = kernels.fma_f32});
  }
#if defined(__x86_64__)
  // Both files are compiled for x86-64-v4 and one instruction more.
  if (isa_supported(Isa::avx512)) {
    if (__builtin_cpu_supports("avx512bf16")) found.push_back(avx512_bf16_kernel);
    if (__builtin_cpu_supports("avx512vnni")) found.push_back(avx512_vnni_kernel);
  }
#endif
  return found;
}

}  // namespace recstack
