"""Element-wise ops. Everything is float64; comparisons give 1.0 or 0.0."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from recstack.engine.reference.arrays import Array, align, rounded
from recstack.model.model import Weights
from recstack.model.ops import Binary, Clamp, Unary, Where
from recstack.model.ops.tensor import BinaryFn, UnaryFn


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x))."""
    y: Array = 1 / (1 + np.exp(-x))
    return y


def erf(x: Array) -> Array:
    """The error function; NumPy has none."""
    y: Array = np.vectorize(math.erf, otypes=[np.float64])(x)
    return y


def gelu(x: Array) -> Array:
    """x times the normal distribution's cumulative function (Hendrycks 2016)."""
    return x * (1 + erf(x / math.sqrt(2))) / 2


def gelu_tanh(x: Array) -> Array:
    """GELU's tanh approximation."""
    y: Array = x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2
    return y


def softplus(x: Array) -> Array:
    """log(1 + exp(x))."""
    y: Array = np.logaddexp(0, x)
    return y


def elu(x: Array) -> Array:
    """x where x > 0, else exp(x) - 1."""
    return np.where(x > 0, x, np.expm1(x))


UNARY: dict[UnaryFn, Callable[[Array], Array]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "neg": np.negative,
    "reciprocal": lambda x: 1 / x,
    "square": np.square,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": lambda x: x * sigmoid(x),
    "softplus": softplus,
    "elu": elu,
    "erf": erf,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sign": np.sign,
    "floor": np.floor,
    "sin": np.sin,
    "cos": np.cos,
}
BINARY: dict[BinaryFn, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "eq": lambda a, b: (a == b).astype(np.float64),
    "ne": lambda a, b: (a != b).astype(np.float64),
    "lt": lambda a, b: (a < b).astype(np.float64),
    "le": lambda a, b: (a <= b).astype(np.float64),
    "gt": lambda a, b: (a > b).astype(np.float64),
    "ge": lambda a, b: (a >= b).astype(np.float64),
}


def unary(op: Unary, inputs: Sequence[Array], weights: Weights) -> Array:
    """fn(x)."""
    return UNARY[op.fn](inputs[0])


def binary(op: Binary, inputs: Sequence[Array], weights: Weights) -> Array:
    """fn(a, b), or with the scalar as b (as a with `scalar_first`)."""
    if op.scalar is None:
        a, b = align(inputs)
    else:
        a, b = inputs[0], np.asarray(rounded(op.scalar))
        a, b = (b, a) if op.scalar_first else (a, b)
    return BINARY[op.fn](a, b)


def clamp(op: Clamp, inputs: Sequence[Array], weights: Weights) -> Array:
    """min(max(x, low), high)."""
    (x,) = inputs
    if op.low is not None:
        x = np.maximum(x, rounded(op.low))
    return x if op.high is None else np.minimum(x, rounded(op.high))


def where(op: Where, inputs: Sequence[Array], weights: Weights) -> Array:
    """a where the condition is not 0, else b."""
    condition, a, b = align(inputs)
    return np.where(condition != 0, a, b)
