#define RECSTACK_ISA 0
#include "kernels/seq/unit8-inl.h"
