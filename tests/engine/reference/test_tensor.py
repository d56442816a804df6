"""General tensor ops, entry by entry in plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from recstack.engine.reference.registry import OPS
from recstack.model import ops

X = np.random.default_rng(0).standard_normal((2, 3, 4, 5))


def run(op: type[ops.Op], *inputs: np.ndarray, weights: Any = None, **fields: Any) -> np.ndarray:
    names = [f"i{i}" for i in range(len(inputs))]
    made = op.model_validate({"output": "y", "inputs": names, **fields})
    got = OPS[op](made, inputs, weights or {})
    shapes = [x.shape[1:] for x in inputs]
    assert got.shape[1:] == made.shape(shapes, {k: v.shape for k, v in (weights or {}).items()})
    return got


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(0,), (-1,), (0, 2), (1, -1), (0, 1, 2)])
@pytest.mark.parametrize("fn", ["sum", "mean", "max", "min", "norm2", "prod"])
def test_reduce(fn, axes, keepdims):
    got = run(ops.Reduce, X, fn=fn, axes=axes, keepdims=keepdims)
    for n in range(2):
        if fn == "norm2":
            want = torch.linalg.vector_norm(torch.tensor(X[n]), dim=axes, keepdim=keepdims).numpy()
        else:
            want = getattr(np, fn)(X[n], axis=axes, keepdims=keepdims)
        np.testing.assert_allclose(got[n], want)
    assert run(ops.Reduce, X[:0], fn=fn, axes=axes, keepdims=keepdims).shape == (0, *got.shape[1:])


@pytest.mark.parametrize("fn, want", [("sum", 0), ("prod", 1), ("norm2", 0)])
def test_reduce_over_an_empty_axis(fn, want):
    got = run(ops.Reduce, np.zeros((2, 3, 0)), fn=fn, axes=(1,))
    np.testing.assert_array_equal(got, np.full((2, 3), float(want)))


def test_matmul_broadcasts_leading_axes_per_entry():
    b = np.random.default_rng(1).standard_normal((2, 5, 2))
    got, back = (
        run(ops.Matmul, X, b),
        run(ops.Matmul, b.transpose(0, 2, 1), X.transpose(0, 1, 3, 2)),
    )
    for n in range(2):
        np.testing.assert_allclose(got[n], X[n] @ b[n])
        np.testing.assert_allclose(back[n], b[n].T @ X[n].transpose(0, 2, 1))


@pytest.mark.parametrize("axis", [0, 1, -1, -3])
def test_concat(axis):
    got = run(ops.Concat, X, 2 * X, axis=axis)
    for n in range(2):
        np.testing.assert_array_equal(got[n], np.concatenate([X[n], 2 * X[n]], axis))


@pytest.mark.parametrize("axis", [0, 1, 3, -1, -4])
def test_stack(axis):
    got = run(ops.Stack, X, 2 * X, axis=axis)
    for n in range(2):
        np.testing.assert_array_equal(got[n], np.stack([X[n], 2 * X[n]], axis))


def test_moves():
    for n in range(2):
        x = X[n]
        pairs = [
            (run(ops.Reshape, X, shape_to=(6, 10)), x.reshape(6, 10)),
            (run(ops.Reshape, X[:, :1, :1, :1], shape_to=()), x[0, 0, 0]),
            (run(ops.Transpose, X, axes=(2, 0, 1)), x.transpose(2, 0, 1)),
            (run(ops.Slice, X, axis=-1, start=1, stop=5, step=2), x[..., 1:5:2]),
            (run(ops.Slice, X, axis=0, start=1, stop=1), x[1:1]),
            (run(ops.Index, X, axis=-2, indices=(3, 0, 3)), x[:, [3, 0, 3]]),
            (run(ops.Index, X, axis=0, indices=()), x[:0]),
            (run(ops.Expand, X[:, 0, :1], shape_to=(3, 4, 5)), np.stack([[x[0, 0]] * 4] * 3)),
            (run(ops.Expand, X[:, 0, 0, 0], shape_to=(2, 3)), np.full((2, 3), x[0, 0, 0])),
        ]
        for got, want in pairs:
            np.testing.assert_array_equal(got[n], want)


def test_constant_is_one_entry():
    w = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(run(ops.Constant, weights={"w": w}, weight="w"), w[None])
