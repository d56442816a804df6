#define RECSTACK_ISA 0
#include "kernels/gemm/half-inl.h"
