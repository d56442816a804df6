#if defined(__x86_64__)
#define RECSTACK_ISA 3
#include "kernels/seq/unit8-inl.h"
#endif
