#if defined(__x86_64__)
#define RECSTACK_ISA 1
#include "peaks/kernels-inl.h"
#endif
