#define RECSTACK_ISA 0
#include "kernels/seq/seq-inl.h"
