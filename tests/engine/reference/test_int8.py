from __future__ import annotations

import numpy as np
import pytest

from recstack.engine.precision import ActivationRange, LayerPrecision
from recstack.engine.reference.int8 import linear_int8, quantise_rows, quantise_weights


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def test_weights_are_off_by_at_most_half_a_step_and_use_the_whole_range() -> None:
    weight = normal(20, 50) * np.logspace(-20, 10, 20, dtype=np.float32)[:, None]
    w = quantise_weights(weight)
    error = np.abs(w.values * w.scale[:, None].astype(np.float64) - weight)
    assert (error <= 0.5001 * w.scale[:, None]).all()
    assert (np.abs(w.values.astype(int)).max(axis=1) == 127).all()


def test_rows_are_off_by_at_most_a_step_and_keep_zero() -> None:
    x = normal(30, 40, seed=1) * np.logspace(-20, 10, 30, dtype=np.float32)[:, None]
    x[::3] = np.abs(x[::3])
    x[:, 0] = 0
    q = quantise_rows(x)
    error = np.abs(q.dequantised().astype(np.float64) - x)
    # The zero point is rounded, so the last half step at an end of the range may be cut off.
    assert (error <= 1.001 * q.step[:, None]).all()
    inside = (q.values > 0) & (q.values < 255)
    assert (error <= 0.5001 * q.step[:, None])[inside].all()
    assert (q.dequantised()[:, 0] == 0).all()
    assert (q.zero[::3] == 0).all()


def test_a_rows_numbers_do_not_depend_on_the_other_rows() -> None:
    x = normal(9, 17) * np.arange(1, 10, dtype=np.float32)[:, None]
    weight = normal(5, 17, seed=2)
    whole = linear_int8(x, weight)
    parts = [linear_int8(x[i : i + 1], weight) for i in range(9)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_a_range_given_beforehand_saturates() -> None:
    x = np.array([[-5, -1, 0, 0.5, 2, 900]], np.float32)
    q = quantise_rows(x, ActivationRange(-1, 2))
    assert q.dequantised()[0] == pytest.approx([-1, -1, 0, 0.5, 2, 2], abs=0.006)


def test_outliers_are_multiplied_in_fp32_and_leave_the_range_to_the_others() -> None:
    x, weight = normal(8, 30, seed=3), normal(10, 30, seed=4)
    x[:, 7] *= 1e4
    exact = x.astype(np.float64) @ weight.T.astype(np.float64)
    without = np.abs(linear_int8(x, weight) - exact).max()
    split = np.abs(linear_int8(x, weight, precision=LayerPrecision("int8", None, (7,))) - exact)
    assert split.max() < 0.2 < 10 < without


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("given", [None, ActivationRange(-1, 1)])
def test_a_row_that_is_not_finite_gives_nan_and_spoils_no_other(bad, given) -> None:
    x, weight = normal(3, 8), normal(4, 8)
    x[1, 5] = bad
    y = linear_int8(x, weight, activation="relu", precision=LayerPrecision("int8", given, (5,)))
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_zeros_and_the_smallest_numbers_give_zeros_or_small_numbers() -> None:
    x = np.array([[0, 0], [1e-44, -1e-44], [3e38, -3e38]], np.float32)
    y = linear_int8(x, np.array([[1, 1], [0, 0], [1e-44, 0]], np.float32))
    assert np.isfinite(y).all()
    assert (y[0] == 0).all() and (np.abs(y[1]) < 1e-37).all() and (y[:, 1] == 0).all()
