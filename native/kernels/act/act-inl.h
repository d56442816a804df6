#pragma once

#include "kernels/act/elementwise-inl.h"
#include "kernels/act/reduce-inl.h"

namespace recstack::RECSTACK_ISA_NS {

extern const ActKernels act_table;
const ActKernels act_table = {
    .unary_f32 = unary_f32,
    .binary_f32 = binary_f32,
    .clamp_f32 = clamp_f32,
    .where_f32 = where_f32,
    .softmax_f32 = softmax_f32,
    .layer_norm_f32 = layer_norm_f32,
    .affine_f32 = affine_f32,
    .prelu_f32 = prelu_f32,
    .dice_f32 = dice_f32,
    .reduce_f32 = reduce_f32,
    .reduce_columns_f32 = reduce_columns_f32,
    .find_non_finite_f32 = find_non_finite_f32,
};

}  // namespace recstack::RECSTACK_ISA_NS
