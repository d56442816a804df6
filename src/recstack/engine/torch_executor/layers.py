"""Recommendation layers as torch functions, weights bound and folded when they are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from recstack.engine.torch_executor.weights import Tensors
from recstack.model.ops import (
    BatchNorm,
    Cross,
    Dice,
    DotInteraction,
    LayerNorm,
    Linear,
    Prelu,
    Shape,
    Softmax,
)

Run = Callable[..., Tensor]

# In place: each is applied to a result that nothing else reads.
ACTIVATIONS: dict[str, Run] = {
    "relu": torch.relu_,
    "sigmoid": torch.sigmoid_,
    "tanh": torch.tanh_,
}


def entry_dim(axis: int, shape: Shape) -> int:
    """An axis of an entry shape as a dimension of the whole tensor."""
    return axis % len(shape) + 1


def affine(weight: Tensor, bias: Tensor | None, activation: str = "none") -> Run:
    """activation(x @ weight.T + bias)."""
    if activation == "none":
        return lambda x: functional.linear(x, weight, bias)
    activate = ACTIVATIONS[activation]
    return lambda x: activate(functional.linear(x, weight, bias))


def linear(op: Linear, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """(..., in) -> (..., out)."""
    return affine(tensors(op.weight), tensors.optional(op.bias), op.activation)


def dot_interaction(op: DotInteraction, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """One batched product, then one gather of the triangle."""
    n = shapes[0][0]
    if op.order == "lower":
        first, second = torch.tril_indices(n, n, 0 if op.self_pairs else -1)
    else:
        first, second = torch.triu_indices(n, n, 0 if op.self_pairs else 1)
    places = (first * n + second).to(tensors.device)

    def run(x: Tensor) -> Tensor:
        return torch.bmm(x, x.transpose(1, 2)).flatten(1).index_select(1, places)

    return run


def cross(op: Cross, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """x0 * (weight_u @ (weight_v @ x) + bias) + x."""
    v, u, bias = tensors.optional(op.weight_v), tensors(op.weight_u), tensors.optional(op.bias)

    def run(x0: Tensor, x: Tensor) -> Tensor:
        hidden = x if v is None else functional.linear(x, v)
        return torch.addcmul(x, x0, functional.linear(hidden, u, bias))

    return run


def layer_norm(op: LayerNorm, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """torch's fused layer norm."""
    width = (shapes[0][-1],)
    weight, bias = tensors.optional(op.weight), tensors.optional(op.bias)
    return lambda x: functional.layer_norm(x, width, weight, bias, op.eps)


def batch_norm(op: BatchNorm, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """Folded into one multiply-add."""
    scale = 1 / torch.sqrt(tensors(op.variance).double() + op.eps)
    if op.weight is not None:
        scale = scale * tensors(op.weight)
    shift = -tensors(op.mean) * scale
    if op.bias is not None:
        shift = shift + tensors(op.bias)
    scale, shift = (along(v.float(), shapes[0], op.axis) for v in (scale, shift))
    return lambda x: torch.addcmul(shift, x, scale)


def prelu(op: Prelu, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """torch's fused PReLU where its channels are the first axis, else a select."""
    slope = tensors(op.slope)
    if slope.numel() == 1 or entry_dim(op.axis, shapes[0]) == 1:
        return lambda x: functional.prelu(x, slope)
    slope = along(slope, shapes[0], op.axis)
    return lambda x: torch.where(x > 0, x, slope * x)


def dice(op: Dice, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """Two multiply-adds, a sigmoid and a product."""
    return folded_dice(tensors(op.alpha), tensors(op.mean), tensors(op.variance), op.eps)


def folded_dice(alpha: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Run:
    """Dice over the last axis: x * (alpha + (1 - alpha) * sigmoid(x * scale + shift))."""
    wide = 1 / torch.sqrt(variance.double() + eps)
    scale, shift = wide.float(), (-mean * wide).float()
    rest = 1 - alpha

    def run(x: Tensor) -> Tensor:
        step = torch.addcmul(shift, x, scale).sigmoid_()
        return torch.addcmul(alpha, step, rest).mul_(x)

    return run


def softmax(op: Softmax, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """torch's fused softmax."""
    dim = entry_dim(op.axis, shapes[0])
    return lambda x: torch.softmax(x, dim)


def along(vector: Tensor, shape: Shape, axis: int) -> Tensor:
    """`vector` (n,) shaped to broadcast along one axis of an entry shape."""
    behind = len(shape) - entry_dim(axis, shape)
    return vector.reshape(-1, *(1,) * behind)
