#define RECSTACK_ISA 0
#include "kernels/embag/embag-inl.h"
