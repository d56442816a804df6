#define RECSTACK_ISA 0
#include "kernels/quant/quant-inl.h"
