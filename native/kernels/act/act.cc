#include "kernels/act/act.h"

namespace recstack {

namespace scalar {
extern const ActKernels act_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const ActKernels act_table;
}
namespace avx512 {
extern const ActKernels act_table;
}
#endif

const ActKernels& act_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::act_table;
  if (isa == Isa::avx2) return avx2::act_table;
#endif
  (void)isa;
  return scalar::act_table;
}

}  // namespace recstack
