#include "kernels/embag/embag.h"

namespace recstack {

namespace scalar {
extern const EmbagKernels embag_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const EmbagKernels embag_table;
}
namespace avx512 {
extern const EmbagKernels embag_table;
}
#endif

const EmbagKernels& embag_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::embag_table;
  if (isa == Isa::avx2) return avx2::embag_table;
#endif
  (void)isa;
  return scalar::embag_table;
}

}  // namespace recstack
