#if defined(__x86_64__)
#define RECSTACK_ISA 2
#include "kernels/seq/unit8-inl.h"
#endif
