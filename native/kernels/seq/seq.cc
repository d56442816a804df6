#include "kernels/seq/seq.h"

namespace recstack {

namespace scalar {
extern const SeqKernels seq_table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const SeqKernels seq_table;
}
namespace avx512 {
extern const SeqKernels seq_table;
}
#endif

const SeqKernels& seq_kernels(Isa isa) {
#if defined(__x86_64__)
  if (isa >= Isa::avx512) return avx512::seq_table;
  if (isa == Isa::avx2) return avx2::seq_table;
#endif
  (void)isa;
  return scalar::seq_table;
}

}  // namespace recstack
