#if defined(__x86_64__)
#define RECSTACK_ISA 1
#include "kernels/seq/unit8-inl.h"
#endif
