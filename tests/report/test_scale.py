from __future__ import annotations

import math

import numpy as np
import pytest

from recstack.report.svg.scale import Scale, linear, log, tail


def check(scale: Scale, values: list[float]) -> None:
    assert 2 <= len(scale.ticks) <= 9
    places = [scale.at(value) for value, _ in scale.ticks]
    assert places == sorted(set(places))
    assert len({label for _, label in scale.ticks}) == len(scale.ticks)
    for place in [*places, *(scale.at(value) for value in values)]:
        assert 0 <= place <= 1


@pytest.mark.parametrize(
    "values", [[], [0.0], [5.0], [5.0, 5.0], [-3.0, 4.0], [1e-9, 3e-9], [1e12], [math.inf, 3.0]]
)
@pytest.mark.parametrize("zero", [True, False])
def test_linear_scales_hold_their_values(values: list[float], zero: bool) -> None:
    scale = linear(values, zero=zero)
    check(scale, values)
    for value in values:
        assert not math.isfinite(value) or scale.low <= value <= scale.high


@pytest.mark.parametrize(
    "values",
    [[], [0.0], [1.0], [5.0, 5.0], [900.0, 1100.0], [1e-6, 1e6], [3e-4, 2.0], [math.inf, 3.0]],
)
def test_logarithmic_scales_hold_their_values(values: list[float]) -> None:
    scale = log(values)
    check(scale, values)
    for value in values:
        assert not (0 < value < math.inf) or scale.low <= value <= scale.high


def test_random_values_get_readable_ticks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        values = list(10 ** rng.uniform(-4, 7, 2))
        check(linear(values), values)
        check(log(values), values)


def test_each_nine_has_the_same_room() -> None:
    scale = tail(1e-5)
    steps = np.diff([scale.at(1 - 10.0**-k) for k in range(6)])
    assert np.allclose(steps, steps[0])
    check(tail(1.0), [0.0, 1.0])


def test_infinity_sticks_to_the_end() -> None:
    assert linear([0, 10]).at(math.inf) == 1.0
    assert log([1, 10]).at(math.inf) == 1.0
    assert log([1, 10]).at(-math.inf) == 0.0
