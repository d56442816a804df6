"""Extreme numbers: a clear refusal or the reference's scores, and never a warning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native.build import make_plan
from recstack.errors import ModelError
from tests.engine.draft import Draft, make_batch

CHANNELS = 3


def normalised(d: Draft, x: str, variance: float, eps: float, **fields: float) -> str:
    d.weights["mean"] = np.full(CHANNELS, fields.pop("mean", 0.0), np.float32)
    d.weights["variance"] = np.array([1.0, variance, 1.0], np.float32)
    given: dict[str, Any] = {"mean": "mean", "variance": "variance", "eps": eps}
    for name, value in fields.items():
        d.weights[name] = np.full(CHANNELS, value, np.float32)
        given[name] = name
    return d.op("batch_norm", x, axis=-1, **given)


def same_scores(model: rs.Model) -> np.ndarray:
    batch = make_batch(model)
    scores, wanted = rs.compile(model).run(batch), rs.reference(model, batch)
    np.testing.assert_allclose(scores, wanted, rtol=1e-4, atol=1e-5)
    return scores


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize(
    ("variance", "fields"),
    [(0.0, {}), (-1.0, {}), (1e-44, {"weight": 1e38}), (1e-44, {"mean": 1e38}), (np.nan, {})],
)
def test_a_batch_norm_without_a_finite_scale_is_refused(
    folded: bool, variance: float, fields: dict[str, float]
) -> None:
    d = Draft()
    x = d.linear(d.dense(4), 4, CHANNELS) if folded else d.dense(CHANNELS)
    model = d.model(normalised(d, x, variance, 0.0, **fields))
    with pytest.raises(ModelError, match=r"variance \+ eps > 0.*channel 1") as caught:
        rs.compile(model)
    assert "batch_norm" in str(caught.value)


def test_a_dice_without_a_finite_scale_is_refused() -> None:
    d = Draft()
    weights = {"alpha": d.weight(2), "mean": d.weight(2), "variance": d.weight(2)}
    d.weights[weights["variance"]][:] = 0
    model = d.model(d.op("dice", d.dense(2), eps=0.0, **weights))
    with pytest.raises(ModelError, match="channel 0"):
        rs.compile(model)


def test_a_fold_that_overflows_is_left_apart() -> None:
    d = Draft()
    d.weights["large"] = np.full((CHANNELS, 4), 1e30, np.float32)
    x = d.op("linear", d.op("binary", d.dense(4), fn="mul", scalar=0.0), weight="large")
    model = d.model(normalised(d, x, 1e-40, 0.0))
    assert [step.kind for step in make_plan(model).steps][-2:] == ["linear", "affine"]
    assert (same_scores(model) == 0).all()


@pytest.mark.parametrize("activation", ["none", "relu", "sigmoid", "tanh"])
@pytest.mark.parametrize("out", [1, 3, 17, 40])
def test_a_linear_over_infinite_values(activation: str, out: int) -> None:
    d = Draft()
    infinite = d.op("binary", d.dense(5), fn="div", scalar=0.0)
    same_scores(d.model(d.linear(infinite, 5, out, activation)))


def test_what_float32_cannot_hold_is_infinite_in_both() -> None:
    d = Draft()
    large = d.op("binary", d.dense(2), fn="mul", scalar=3e38)
    squared = d.op("binary", large, large, fn="mul")
    model = d.model(d.op("unary", squared, fn="sqrt"))
    assert np.isinf(same_scores(model)).any()


def test_a_constant_beyond_float32_is_infinite_without_a_warning() -> None:
    d = Draft()
    d.weights["large"] = np.full(2, 3e38, np.float32)
    large = d.op("constant", weight="large")
    product = d.op("binary", large, large, fn="mul")
    same_scores(d.model(d.op("binary", d.dense(2), product, fn="add")))


@pytest.mark.parametrize("scalar", [1e40, -1e40, 1e-60])
def test_scalars_that_float32_cannot_hold(scalar: float) -> None:
    d = Draft()
    x = d.dense(2)
    made = [d.op("binary", x, fn=fn, scalar=scalar) for fn in ("add", "mul", "div")]
    same_scores(d.model(*made, d.op("clamp", x, low=-abs(scalar), high=abs(scalar))))


def test_a_shift_that_overflows_is_infinite_in_both() -> None:
    d = Draft()
    scores = same_scores(d.model(normalised(d, d.dense(CHANNELS), 1.0, 0.0, mean=-3e38, bias=3e38)))
    assert np.isinf(scores).all()
