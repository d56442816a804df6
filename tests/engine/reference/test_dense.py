"""Dense ops against torch and explicit loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from recstack.engine.reference.registry import OPS
from recstack.model import ops

RANDOM = np.random.default_rng(0)


def draw(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape)


def weight(*shape: int) -> np.ndarray:
    return RANDOM.uniform(0.1, 1, shape).astype(np.float32)


def run(op: type[ops.Op], *inputs: np.ndarray, weights: dict[str, np.ndarray], **fields: Any):
    names = [f"i{i}" for i in range(len(inputs))]
    made = op.model_validate({"output": "y", "inputs": names, **fields})
    return OPS[op](made, inputs, weights)


def t(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64)


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 3), (0, 3)])
def test_linear(shape, activation, bias):
    w = {"w": weight(6, 3), "b": weight(6)}
    x = draw(*shape)
    fields = {"bias": "b"} if bias else {}
    got = run(ops.Linear, x, weights=w, weight="w", activation=activation, **fields)
    want = functional.linear(t(x), t(w["w"]), t(w["b"]) if bias else None)
    np.testing.assert_allclose(got, ACTIVATIONS[activation](want).numpy(), rtol=1e-12)


def test_dot_interaction_orders():
    x = draw(2, 4, 3)
    pairs = [(i, j) for i in range(4) for j in range(4)]
    keeps = {
        ("lower", False): lambda i, j: i > j,
        ("lower", True): lambda i, j: i >= j,
        ("upper", False): lambda i, j: i < j,
        ("upper", True): lambda i, j: i <= j,
    }
    for (order, self_pairs), keep in keeps.items():
        got = run(ops.DotInteraction, x, weights={}, order=order, self_pairs=self_pairs)
        want = [[x[n, i] @ x[n, j] for i, j in pairs if keep(i, j)] for n in range(2)]
        np.testing.assert_allclose(got, want, rtol=1e-12)


def test_cross():
    x0, x = draw(3, 5), draw(3, 5)
    w = {"v": weight(2, 5), "u": weight(5, 2), "full": weight(5, 5), "b": weight(5)}
    low = run(ops.Cross, x0, x, weights=w, weight_v="v", weight_u="u", bias="b")
    full = run(ops.Cross, x0, x, weights=w, weight_u="full")
    for n in range(3):
        want = x0[n] * (w["u"] @ (w["v"] @ x[n]) + w["b"]) + x[n]
        np.testing.assert_allclose(low[n], want, rtol=1e-12)
        np.testing.assert_allclose(full[n], x0[n] * (w["full"] @ x[n]) + x[n], rtol=1e-12)


@pytest.mark.parametrize("affine", [False, True])
def test_layer_norm(affine):
    x, w = draw(3, 2, 5), {"w": weight(5), "b": weight(5)}
    fields = {"weight": "w", "bias": "b"} if affine else {}
    got = run(ops.LayerNorm, x, weights=w, eps=1e-3, **fields)
    given = (t(w["w"]), t(w["b"])) if affine else (None, None)
    np.testing.assert_allclose(got, functional.layer_norm(t(x), (5,), *given, 1e-3).numpy())


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("axis", [0, -1])
def test_batch_norm(axis, affine):
    x = draw(3, 4, 5)
    n = x.shape[1:][axis]
    w = {name: weight(n) for name in ("mean", "variance", "weight", "bias")}
    names = w if affine else ("mean", "variance")
    got = run(ops.BatchNorm, x, weights=w, axis=axis, eps=1e-3, **{k: k for k in names})
    channels = t(x) if axis == 0 else t(x).transpose(1, 2)
    given = (t(w["weight"]), t(w["bias"])) if affine else (None, None)
    want = functional.batch_norm(channels, t(w["mean"]), t(w["variance"]), *given, eps=1e-3)
    np.testing.assert_allclose(got, (want if axis == 0 else want.transpose(1, 2)).numpy())


def test_prelu():
    x, w = draw(3, 4, 5), {"one": weight(1), "first": weight(4), "last": weight(5)}
    first = run(ops.Prelu, x, weights=w, slope="first", axis=0)
    np.testing.assert_allclose(first, functional.prelu(t(x), t(w["first"])).numpy())
    one = run(ops.Prelu, x, weights=w, slope="one")
    np.testing.assert_allclose(one, functional.prelu(t(x), t(w["one"])).numpy())
    last = run(ops.Prelu, x, weights=w, slope="last")
    np.testing.assert_allclose(last, np.where(x > 0, x, w["last"] * x))
    scalar = run(ops.Prelu, x[:, 0, 0], weights=w, slope="one")
    np.testing.assert_allclose(scalar, one[:, 0, 0])


def test_dice_is_prelu_with_a_smooth_step():
    x = draw(3, 4)
    w = {"alpha": weight(4), "mean": weight(4), "variance": weight(4)}
    got = run(ops.Dice, x, weights=w, alpha="alpha", mean="mean", variance="variance", eps=0.5)
    for n in range(3):
        for i in range(4):
            z = (x[n, i] - float(w["mean"][i])) / (float(w["variance"][i]) + 0.5) ** 0.5
            p = 1 / (1 + np.exp(-z))
            want = p * x[n, i] + (1 - p) * float(w["alpha"][i]) * x[n, i]
            np.testing.assert_allclose(got[n, i], want)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis):
    x = draw(2, 3, 4) * 500
    got = run(ops.Softmax, x, weights={}, axis=axis)
    np.testing.assert_allclose(got, torch.softmax(t(x), axis + 1 if axis >= 0 else axis).numpy())
