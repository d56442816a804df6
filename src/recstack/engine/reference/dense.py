"""Dense recommendation ops: layers, interactions, normalisations. x has shape (entries, ...)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recstack.engine.precision import FP32
from recstack.engine.reference.arrays import Array, entry_axis, wide
from recstack.engine.reference.elementwise import sigmoid
from recstack.engine.reference.formats import LayerWeights, multiply
from recstack.model.model import Weights
from recstack.model.ops import (
    BatchNorm,
    Cross,
    Dice,
    DotInteraction,
    LayerNorm,
    Linear,
    Prelu,
    Softmax,
)


def activate(x: Array, activation: str) -> Array:
    """x through a layer's activation that has no weights."""
    if activation == "relu":
        return np.maximum(x, 0)
    if activation == "sigmoid":
        return sigmoid(x)
    if activation == "tanh":
        return np.tanh(x)
    assert activation == "none", activation
    return x


def affine(x: Array, weights: Weights, weight: str, bias: str | None) -> Array:
    """x @ weight.T + bias over the last axis, in the precision of the layer."""
    precision = weights.precision if isinstance(weights, LayerWeights) else FP32
    y = multiply(x, wide(weights, weight), precision)
    return y if bias is None else y + wide(weights, bias)


def dice_of(x: Array, alpha: Array, mean: Array, variance: Array, eps: float) -> Array:
    """Dice over the last axis; all weights (n,)."""
    p = sigmoid((x - mean) / np.sqrt(variance + eps))
    return x * (p + alpha * (1 - p))


def linear(op: Linear, inputs: Sequence[Array], weights: Weights) -> Array:
    """(..., in) -> (..., out)."""
    return activate(affine(inputs[0], weights, op.weight, op.bias), op.activation)


def dot_interaction(op: DotInteraction, inputs: Sequence[Array], weights: Weights) -> Array:
    """(F, d) -> (pairs,)."""
    (x,) = inputs
    products = np.matmul(x, x.transpose(0, 2, 1))
    if op.order == "lower":
        first, second = np.tril_indices(x.shape[1], 0 if op.self_pairs else -1)
    else:
        first, second = np.triu_indices(x.shape[1], 0 if op.self_pairs else 1)
    pairs: Array = products[:, first, second]
    return pairs


def cross(op: Cross, inputs: Sequence[Array], weights: Weights) -> Array:
    """x0 (n,), x (n,) -> (n,)."""
    x0, x = inputs
    hidden = x if op.weight_v is None else affine(x, weights, op.weight_v, None)
    return x0 * affine(hidden, weights, op.weight_u, op.bias) + x


def layer_norm(op: LayerNorm, inputs: Sequence[Array], weights: Weights) -> Array:
    """(..., n) -> (..., n); the variance divides by n."""
    (x,) = inputs
    centred = x - x.mean(axis=-1, keepdims=True)
    y = centred / np.sqrt(np.square(centred).mean(axis=-1, keepdims=True) + op.eps)
    if op.weight is not None:
        y = y * wide(weights, op.weight)
    if op.bias is not None:
        y = y + wide(weights, op.bias)
    return np.asarray(y)


def batch_norm(op: BatchNorm, inputs: Sequence[Array], weights: Weights) -> Array:
    """Any shape, normalised per channel of `axis`."""
    (x,) = inputs

    def of(name: str) -> Array:
        return along(wide(weights, name), x, op.axis)

    y = (x - of(op.mean)) / np.sqrt(of(op.variance) + op.eps)
    if op.weight is not None:
        y = y * of(op.weight)
    return y if op.bias is None else y + of(op.bias)


def prelu(op: Prelu, inputs: Sequence[Array], weights: Weights) -> Array:
    """Any shape, one slope or one per channel of `axis`."""
    (x,) = inputs
    slope = wide(weights, op.slope)
    if slope.size > 1:
        slope = along(slope, x, op.axis)
    return np.where(x > 0, x, slope * x)


def dice(op: Dice, inputs: Sequence[Array], weights: Weights) -> Array:
    """(..., n) -> (..., n)."""
    alpha, mean, variance = (wide(weights, w) for w in (op.alpha, op.mean, op.variance))
    return dice_of(inputs[0], alpha, mean, variance, op.eps)


def softmax(op: Softmax, inputs: Sequence[Array], weights: Weights) -> Array:
    """Any shape -> the same, summing to 1 along `axis`."""
    (x,) = inputs
    return softmax_along(x, entry_axis(op.axis, x.ndim - 1))


def softmax_along(x: Array, axis: int) -> Array:
    """exp(x - max) / sum along an axis of the whole array; -inf counts for nothing."""
    e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    y: Array = e / e.sum(axis=axis, keepdims=True)
    return y


def along(vector: Array, x: Array, axis: int) -> Array:
    """`vector` (n,) shaped to broadcast along an axis of x's entries."""
    shape = [1] * x.ndim
    shape[entry_axis(axis, x.ndim - 1)] = vector.size
    return vector.reshape(shape)
