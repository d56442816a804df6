"""General tensor ops on (entries, ...) arrays: NumPy's semantics for each entry."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recstack.engine.reference.arrays import Array, align, entry_axis, wide
from recstack.model.model import Weights
from recstack.model.ops import (
    Concat,
    Constant,
    Expand,
    Index,
    Matmul,
    Reduce,
    Reshape,
    Slice,
    Stack,
    Transpose,
)

REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
    "norm2": lambda x, **how: np.sqrt(np.sum(np.square(x), **how)),
}


def constant(op: Constant, inputs: Sequence[Array], weights: Weights) -> Array:
    """The weight as one entry, which `to_scope` broadcasts."""
    return wide(weights, op.weight)[None]


def reduce(op: Reduce, inputs: Sequence[Array], weights: Weights) -> Array:
    """fn over `axes`."""
    (x,) = inputs
    axes = tuple(entry_axis(a, x.ndim - 1) for a in op.axes)
    return np.asarray(REDUCTIONS[op.fn](x, axis=axes, keepdims=op.keepdims))


def matmul(op: Matmul, inputs: Sequence[Array], weights: Weights) -> Array:
    """a (..., m, k) @ b (..., k, n)."""
    a, b = align(inputs)
    y: Array = np.matmul(a, b)
    return y


def concat(op: Concat, inputs: Sequence[Array], weights: Weights) -> Array:
    """Side by side along an existing axis."""
    return np.concatenate(inputs, axis=entry_axis(op.axis, inputs[0].ndim - 1))


def stack(op: Stack, inputs: Sequence[Array], weights: Weights) -> Array:
    """Side by side along a new axis."""
    return np.stack(inputs, axis=entry_axis(op.axis, inputs[0].ndim))


def reshape(op: Reshape, inputs: Sequence[Array], weights: Weights) -> Array:
    """The same elements in row-major order."""
    (x,) = inputs
    return x.reshape(x.shape[0], *op.shape_to)


def transpose(op: Transpose, inputs: Sequence[Array], weights: Weights) -> Array:
    """Axes in another order."""
    return inputs[0].transpose(0, *(a + 1 for a in op.axes))


def slice_(op: Slice, inputs: Sequence[Array], weights: Weights) -> Array:
    """x[start:stop:step] along one axis."""
    (x,) = inputs
    part = [slice(None)] * x.ndim
    part[entry_axis(op.axis, x.ndim - 1)] = slice(op.start, op.stop, op.step)
    return x[tuple(part)]


def index(op: Index, inputs: Sequence[Array], weights: Weights) -> Array:
    """x at constant indices along one axis."""
    (x,) = inputs
    return np.take(x, np.array(op.indices, np.intp), axis=entry_axis(op.axis, x.ndim - 1))


def expand(op: Expand, inputs: Sequence[Array], weights: Weights) -> Array:
    """x broadcast to `shape_to`."""
    (x,) = align(inputs, len(op.shape_to))
    return np.broadcast_to(x, (x.shape[0], *op.shape_to))
