"""Attention pooling and recurrences against torch modules and explicit loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from recstack.engine.reference.registry import OPS
from recstack.model import ops

RANDOM = np.random.default_rng(0)
MASK = np.array([[1, 1, 1, 1.0], [1, 0, 1, 0], [0, 0, 0, 0]])
X = RANDOM.standard_normal((3, 4, 5))
SCORES = RANDOM.random((3, 4))
GRU = {
    "ih": RANDOM.standard_normal((18, 5)).astype(np.float32),
    "hh": RANDOM.standard_normal((18, 6)).astype(np.float32),
    "bi": RANDOM.standard_normal(18).astype(np.float32),
    "bh": RANDOM.standard_normal(18).astype(np.float32),
}
GRU_FIELDS = {"weight_ih": "ih", "weight_hh": "hh", "bias_ih": "bi", "bias_hh": "bh"}


def run(op: type[ops.Op], *inputs: np.ndarray, weights: dict[str, np.ndarray], **fields: Any):
    names = [f"i{i}" for i in range(len(inputs))]
    made = op.model_validate({"output": "y", "inputs": names, **fields})
    with np.errstate(all="ignore"):
        return OPS[op](made, inputs, weights)


def torch_cell() -> torch.nn.GRUCell:
    cell = torch.nn.GRUCell(5, 6, dtype=torch.float64)
    for name, array in zip(
        ("weight_ih", "weight_hh", "bias_ih", "bias_hh"), GRU.values(), strict=True
    ):
        getattr(cell, name).data = torch.tensor(array, dtype=torch.float64)
    return cell


@torch.no_grad()
def looped_gru(mask: np.ndarray) -> np.ndarray:
    """(entries, L, h) of a GRU cell that skips masked positions, entry by entry."""
    cell, states = torch_cell(), np.zeros((3, 4, 6))
    for n in range(3):
        h = torch.zeros(1, 6, dtype=torch.float64)
        for t in range(4):
            if mask[n, t]:
                h = cell(torch.tensor(X[n, t : t + 1]), h)
            states[n, t] = h.numpy()
    return states


def test_gru_agrees_with_torch():
    gru = torch.nn.GRU(5, 6, batch_first=True, dtype=torch.float64)
    for p, array in zip(gru.parameters(), GRU.values(), strict=True):
        p.data = torch.tensor(array, dtype=torch.float64)
    states, last = (y.detach().numpy() for y in gru(torch.tensor(X)))
    got = run(ops.Gru, X, weights=GRU, result="sequence", **GRU_FIELDS)
    np.testing.assert_allclose(got, states, atol=1e-12)
    np.testing.assert_allclose(run(ops.Gru, X, weights=GRU, **GRU_FIELDS), last[0], atol=1e-12)


def test_gru_skips_masked_positions():
    want = looped_gru(MASK)
    got = run(ops.Gru, X, MASK, weights=GRU, result="sequence", **GRU_FIELDS)
    np.testing.assert_allclose(got, want, atol=1e-12)
    last = run(ops.Gru, X, MASK, weights=GRU, **GRU_FIELDS)
    np.testing.assert_allclose(last, want[:, -1], atol=1e-12)
    assert not last[2].any()


def test_gru_cell_agrees_with_torch():
    h = RANDOM.standard_normal((3, 6))
    want = torch_cell()(torch.tensor(X[:, 0]), torch.tensor(h)).detach().numpy()
    got = run(ops.GruCell, X[:, 0], h, weights=GRU, **GRU_FIELDS)
    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("masked", [False, True])
def test_augru_follows_equation_16(masked):
    states = np.zeros((3, 4, 6))
    for n in range(3):
        h = np.zeros(6)
        for t in range(4):
            if MASK[n, t] or not masked:
                i, j = GRU["ih"] @ X[n, t] + GRU["bi"], GRU["hh"] @ h + GRU["bh"]
                r, z = (1 / (1 + np.exp(-(i[k : k + 6] + j[k : k + 6]))) for k in (0, 6))
                u = SCORES[n, t] * z
                h = (1 - u) * h + u * np.tanh(i[12:] + r * j[12:])
            states[n, t] = h
    inputs = (X, SCORES, MASK) if masked else (X, SCORES)
    got = run(ops.Augru, *inputs, weights=GRU, result="sequence", **GRU_FIELDS)
    np.testing.assert_allclose(got, states, atol=1e-12)
    last = run(ops.Augru, *inputs, weights=GRU, **GRU_FIELDS)
    np.testing.assert_allclose(last, states[:, -1], atol=1e-12)


UNIT = {
    "w0": RANDOM.standard_normal((3, 25)).astype(np.float32),
    "b0": RANDOM.standard_normal(3).astype(np.float32),
    "slope": np.array([0.1, 0.2, 0.3], np.float32),
    "w1": RANDOM.standard_normal((2, 3)).astype(np.float32),
    "alpha": np.array([0.4, -0.2], np.float32),
    "mean": np.array([0.1, 0.3], np.float32),
    "variance": np.array([1.5, 0.5], np.float32),
    "w2": RANDOM.standard_normal((1, 2)).astype(np.float32),
}
LAYERS = [
    {"weight": "w0", "bias": "b0", "activation": "prelu", "slope": "slope"},
    {
        "weight": "w1",
        "activation": "dice",
        "slope": "alpha",
        "mean": "mean",
        "variance": "variance",
        "eps": 0.25,
    },
    {"weight": "w2"},
]


def unit_score(query: np.ndarray, key: np.ndarray) -> float:
    """One attention score, number by number."""
    x = np.concatenate([query, key, query - key, query * key, query + key])
    first = UNIT["w0"] @ x + UNIT["b0"]
    first = np.where(first > 0, first, UNIT["slope"] * first)
    second = UNIT["w1"] @ first
    p = 1 / (1 + np.exp(-(second - UNIT["mean"]) / np.sqrt(UNIT["variance"] + np.float64(0.25))))
    return float((UNIT["w2"] @ (p * second + (1 - p) * UNIT["alpha"] * second))[0])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("normalise", ["none", "softmax"])
def test_attention_pooling_agrees_with_a_loop(normalise, masked):
    query = RANDOM.standard_normal((3, 5))
    fields = {
        "features": ("query", "key", "difference", "product", "sum"),
        "layers": LAYERS,
        "normalise": normalise,
    }
    inputs = (query, X, MASK) if masked else (query, X)
    scores = run(ops.AttentionPooling, *inputs, weights=UNIT, result="scores", **fields)
    pooled = run(ops.AttentionPooling, *inputs, weights=UNIT, **fields)
    for n in range(3):
        held = [t for t in range(4) if MASK[n, t] or not masked]
        raw = {t: unit_score(query[n], X[n, t]) for t in held}
        if normalise == "softmax":
            total = sum(math.exp(s) for s in raw.values())
            raw = {t: math.exp(s) / total for t, s in raw.items()}
        np.testing.assert_allclose(scores[n], [raw.get(t, 0.0) for t in range(4)], rtol=1e-6)
        want = sum((raw[t] * X[n, t] for t in held), np.zeros(5))
        np.testing.assert_allclose(pooled[n], want, rtol=1e-5)


def test_attention_over_no_position_or_no_entry_gives_zeros():
    for normalise in ("none", "softmax"):
        layer = {"weight": "w", "activation": "sigmoid"}
        fields = {"features": ("product",), "layers": [layer], "normalise": normalise}
        w = {"w": np.ones((1, 5), np.float32)}
        got = run(ops.AttentionPooling, X[:, 0], X, MASK * 0, weights=w, **fields)
        assert not got.any()
        none = run(ops.AttentionPooling, X[:0, 0], X[:0], weights=w, **fields)
        assert none.shape == (0, 5)
