#define RECSTACK_ISA 0
#include "kernels/gemm/fp32-inl.h"
