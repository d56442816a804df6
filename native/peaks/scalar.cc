#define RECSTACK_ISA 0
#include "peaks/kernels-inl.h"
