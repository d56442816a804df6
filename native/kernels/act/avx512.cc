#if defined(__x86_64__)
#define RECSTACK_ISA 2
#include "kernels/act/act-inl.h"
#endif
