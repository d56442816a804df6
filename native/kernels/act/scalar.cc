#define RECSTACK_ISA 0
#include "kernels/act/act-inl.h"
