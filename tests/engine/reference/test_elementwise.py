"""Element-wise ops against torch in float64."""

from __future__ import annotations

import operator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch.nn import functional

from recstack.engine.reference.registry import OPS
from recstack.model import ops
from recstack.model.ops.tensor import BinaryFn, UnaryFn

X = np.concatenate([np.random.default_rng(0).standard_normal(20) * 3, [0.0, 30, -30, 1e-3]])[
    :, None
]
TORCH_UNARY = {
    "reciprocal": torch.reciprocal,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "softplus": functional.softplus,
    "elu": functional.elu,
}
TORCH_BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": operator.pow,
    "maximum": lambda a, b: torch.maximum(torch.as_tensor(a), torch.as_tensor(b)),
    "minimum": lambda a, b: torch.minimum(torch.as_tensor(a), torch.as_tensor(b)),
    **{name: getattr(operator, name) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
}


def run(op: type[ops.Op], *inputs: np.ndarray, **fields: Any) -> np.ndarray:
    names = [f"i{i}" for i in range(len(inputs))]
    made = op.model_validate({"output": "y", "inputs": names, **fields})
    with np.errstate(all="ignore"):
        return OPS[op](made, inputs, {})


@pytest.mark.parametrize("fn", get_args(UnaryFn))
def test_unary(fn):
    want = TORCH_UNARY.get(fn, getattr(torch, fn, None))(torch.tensor(X)).numpy()
    np.testing.assert_allclose(run(ops.Unary, X, fn=fn), want, rtol=1e-9, atol=1e-8)
    assert run(ops.Unary, X[:0], fn=fn).shape == (0, 1)


@pytest.mark.parametrize("fn", get_args(BinaryFn))
def test_binary(fn):
    a, b = X, np.roll(X, 1)
    b[3] = a[3]
    want = TORCH_BINARY[fn](torch.tensor(a), torch.tensor(b)).numpy().astype(float)
    np.testing.assert_allclose(run(ops.Binary, a, b, fn=fn), want, rtol=1e-12)


@pytest.mark.parametrize("fn", get_args(BinaryFn))
@pytest.mark.parametrize("first", [False, True])
def test_binary_with_a_scalar(fn, first):
    scalar = torch.tensor(1.5, dtype=torch.float64)
    pair = (scalar, torch.tensor(X)) if first else (torch.tensor(X), scalar)
    want = TORCH_BINARY[fn](*pair).numpy().astype(float)
    got = run(ops.Binary, X, fn=fn, scalar=1.5, scalar_first=first)
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_scalars_are_float32_as_values_are():
    x = np.float64(np.float32([[0.1]]))
    assert run(ops.Binary, x, fn="eq", scalar=0.1).item() == 1
    assert run(ops.Clamp, x, low=0.1).item() == np.float32(0.1)


def test_binary_broadcasts_entry_shapes_from_the_right():
    column, row, scalar = np.ones((2, 3, 1)), np.arange(8.0).reshape(2, 4), np.array([10.0, 20])
    got = run(ops.Binary, column, row, fn="add")
    assert got.shape == (2, 3, 4)
    np.testing.assert_array_equal(got[1, 2], row[1] + 1)
    np.testing.assert_array_equal(run(ops.Binary, scalar, row, fn="mul")[1], 20 * row[1])


@pytest.mark.parametrize("low, high", [(None, None), (-1, None), (None, 1), (-1, 1), (2, 1)])
def test_clamp(low, high):
    x = np.append(X, [[np.nan]], axis=0)
    got = run(ops.Clamp, x, low=low, high=high)
    if low is None and high is None:
        np.testing.assert_array_equal(got, x)
    else:
        np.testing.assert_array_equal(got, torch.clamp(torch.tensor(x), low, high).numpy())


def test_where():
    condition = np.array([[0.0, -2, 0.5], [np.nan, 0, 1]])
    a, b = np.full((2, 1), 7.0), np.arange(6.0).reshape(2, 3)
    got = run(ops.Where, condition, a, b)
    np.testing.assert_array_equal(got, [[0, 7, 7], [7, 4, 7]])
