#if defined(__x86_64__)
#define RECSTACK_ISA 1
#include "kernels/act/act-inl.h"
#endif
