#pragma once

#include "kernels/gemm/layer-inl.h"
#include "kernels/gemm/matmul-inl.h"
#include "kernels/gemm/tables.h"

namespace recstack::RECSTACK_ISA_NS {

const LayerKernels fp32_layers = kLayerKernels<Fp32>;
const MatmulKernel matmul = matmul_f32;

}  // namespace recstack::RECSTACK_ISA_NS
