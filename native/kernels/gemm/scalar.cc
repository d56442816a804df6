#define RECSTACK_ISA 0
#include "kernels/gemm/gemm-inl.h"
