#include "kernels/interact/interact.h"

namespace recstack {

namespace scalar {
extern const InteractKernels interact_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const InteractKernels interact_table;
}
namespace avx512 {
extern const InteractKernels interact_table;
}
#endif

const InteractKernels& interact_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::interact_table;
  if (isa == Isa::avx2) return avx2::interact_table;
#endif
  (void)isa;
  return scalar::interact_table;
}

}  // namespace recstack
