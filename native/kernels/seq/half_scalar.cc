#define RECSTACK_ISA 0
#include "kernels/seq/half-inl.h"
