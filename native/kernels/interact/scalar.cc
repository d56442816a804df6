#define RECSTACK_ISA 0
#include "kernels/interact/interact-inl.h"
