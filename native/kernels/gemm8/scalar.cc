#define RECSTACK_ISA 0
#include "kernels/gemm8/gemm8-inl.h"
