"""General tensor ops as torch functions. `shapes` are the entry shapes of the inputs."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from recstack.engine.torch_executor.layers import Run, entry_dim
from recstack.engine.torch_executor.weights import Tensors
from recstack.model import ops
from recstack.model.ops import Shape
from recstack.model.ops.tensor import BinaryFn, UnaryFn

UNARY: dict[UnaryFn, Run] = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "square": torch.square,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "softplus": functional.softplus,
    "elu": functional.elu,
    "erf": torch.erf,
    "rsqrt": torch.rsqrt,
    "sign": torch.sign,
    "floor": torch.floor,
    "sin": torch.sin,
    "cos": torch.cos,
}


def compare(fn: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Tensor]:
    """fn with 1.0 and 0.0 as its results."""
    return lambda a, b: fn(a, b).float()


BINARY: dict[BinaryFn, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "eq": compare(operator.eq),
    "ne": compare(operator.ne),
    "lt": compare(operator.lt),
    "le": compare(operator.le),
    "gt": compare(operator.gt),
    "ge": compare(operator.ge),
}


def aligned(fn: Run, shapes: Sequence[Shape]) -> Run:
    """fn with entry shapes padded to one rank behind axis 0, as NumPy broadcasts them."""
    rank = max(len(s) for s in shapes)
    if all(len(s) == rank for s in shapes):
        return fn
    padded = [(1,) * (rank - len(s)) + s for s in shapes]

    def run(*inputs: Tensor) -> Tensor:
        sized = zip(inputs, padded, strict=True)
        return fn(*(x.reshape(x.shape[0], *shape) for x, shape in sized))

    return run


def constant(op: ops.Constant, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """The weight as one entry."""
    value = tensors(op.weight).unsqueeze(0)
    return lambda: value


def unary(op: ops.Unary, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """fn(x)."""
    return UNARY[op.fn]


def binary(op: ops.Binary, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """fn(a, b)."""
    fn = BINARY[op.fn]
    if op.scalar is None:
        return aligned(fn, shapes)
    scalar: Any = op.scalar
    if op.fn in ("maximum", "minimum"):
        scalar = torch.tensor(op.scalar, device=tensors.device)
    return (lambda x: fn(scalar, x)) if op.scalar_first else (lambda x: fn(x, scalar))


def clamp(op: ops.Clamp, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """min(max(x, low), high)."""
    if op.low is None and op.high is None:
        return lambda x: x
    return lambda x: torch.clamp(x, op.low, op.high)


def where(op: ops.Where, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """a where the condition is not 0, else b."""
    return aligned(lambda condition, a, b: torch.where(condition != 0, a, b), shapes)


def reduce(op: ops.Reduce, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """fn over `axes`."""
    dims = tuple(entry_dim(a, shapes[0]) for a in op.axes)
    keep = op.keepdims
    if op.fn == "prod":
        return lambda x: _product(x, sorted(dims, reverse=True), keep)
    if op.fn == "norm2":
        return lambda x: torch.linalg.vector_norm(x, dim=dims, keepdim=keep)
    fn = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax, "min": torch.amin}[op.fn]
    return lambda x: fn(x, dim=dims, keepdim=keep)


def _product(x: Tensor, dims: Sequence[int], keep: bool) -> Tensor:
    for dim in dims:
        x = torch.prod(x, dim, keepdim=keep)
    return x


def matmul(op: ops.Matmul, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """a (..., m, k) @ b (..., k, n)."""
    return aligned(torch.matmul, shapes)


def concat(op: ops.Concat, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """Side by side along an existing axis."""
    dim = entry_dim(op.axis, shapes[0])
    return lambda *inputs: torch.cat(inputs, dim)


def stack(op: ops.Stack, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """Side by side along a new axis."""
    dim = entry_dim(op.axis, (*shapes[0], 1))
    return lambda *inputs: torch.stack(inputs, dim)


def reshape(op: ops.Reshape, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """The same elements in row-major order."""
    return lambda x: x.reshape(x.shape[0], *op.shape_to)


def transpose(op: ops.Transpose, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """Axes in another order."""
    dims = (0, *(a + 1 for a in op.axes))
    return lambda x: x.permute(dims)


def slice_(op: ops.Slice, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """x[start:stop:step] along one axis."""
    part = (slice(None),) * entry_dim(op.axis, shapes[0])
    taken = (*part, slice(op.start, op.stop, op.step))
    return lambda x: x[taken]


def index(op: ops.Index, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """x at constant indices along one axis."""
    dim = entry_dim(op.axis, shapes[0])
    indices = torch.tensor(op.indices, dtype=torch.int64, device=tensors.device)
    return lambda x: x.index_select(dim, indices)


def expand(op: ops.Expand, tensors: Tensors, shapes: Sequence[Shape]) -> Run:
    """x broadcast to `shape_to`."""
    padded = (1,) * (len(op.shape_to) - len(shapes[0])) + shapes[0]
    return lambda x: x.reshape(x.shape[0], *padded).expand(x.shape[0], *op.shape_to)
