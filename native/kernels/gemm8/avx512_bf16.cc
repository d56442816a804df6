#if defined(__x86_64__)
#define RECSTACK_ISA 3
#include "kernels/gemm8/gemm8-inl.h"
#endif
