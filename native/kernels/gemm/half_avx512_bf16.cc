#if defined(__x86_64__)
#define RECSTACK_ISA 3
#include "kernels/gemm/half-inl.h"
#endif
