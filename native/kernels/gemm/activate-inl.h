// A layer's activation in its epilogue.
#pragma once

#include "kernels/act/math-inl.h"
#include "kernels/gemm/gemm.h"

namespace recstack::RECSTACK_ISA_NS {
namespace {

RECSTACK_INLINE V activate(Activation activation, V x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::relu:
      return relu(x);
    case Activation::sigmoid:
      return sigmoid(x);
    case Activation::tanh:
      return tanh(x);
  }
  return x;
}

}  // namespace
}  // namespace recstack::RECSTACK_ISA_NS
