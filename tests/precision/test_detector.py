from __future__ import annotations

from math import ceil, log

import numpy as np
import pytest

from recstack.errors import ConfigError
from recstack.precision.detector import BETS, Detector


def first_alarm(detector: Detector, samples: np.ndarray) -> int | None:
    return next((i + 1 for i, x in enumerate(samples.tolist()) if detector.add(x)), None)


@pytest.mark.parametrize("law", ["exponential", "rare", "walk"])
def test_false_alarms_stay_below_the_stated_rate(law: str) -> None:
    n, runs, every = 400, 200, 4000
    alarms = 0
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        if law == "exponential":
            samples = rng.exponential(1.0, n)
        elif law == "rare":  # mean 1, nearly always 0
            samples = np.where(rng.random(n) < 0.01, 100.0, 0.0)
        else:  # each sample's law hangs on the one before; its mean given the past is 1
            samples = np.empty(n)
            scale = 1.0
            for i in range(n):
                samples[i] = rng.exponential(1.0) if scale < 1 else 2 * (rng.random() < 0.5)
                scale = samples[i]
        alarms += first_alarm(Detector(1.0, every=every), samples) is not None
    # at most n / every = 10 % of the runs; three standard deviations above it
    assert alarms <= runs * n / every + 3 * (runs * 0.1 * 0.9) ** 0.5


def test_a_rise_is_found_soon_however_late_it_comes() -> None:
    rng = np.random.default_rng(0)
    for clean in (0, 20_000):
        detector = Detector(0.002, every=1e6)
        assert first_alarm(detector, rng.exponential(0.001, clean)) is None
        found = first_alarm(detector, rng.exponential(0.006, 500))
        assert found is not None and found < 60


@pytest.mark.parametrize(
    "times, steady, scattered", [(1.5, 43, 300), (2, 26, 110), (3, 16, 50), (10, 8, 16)]
)
def test_a_mean_past_its_limit_is_found_as_soon_as_documented(times, steady, scattered) -> None:
    tests, limit = 3, 0.01
    assert steady == ceil(log(BETS * tests * 1e6) / log(times))
    for clean in (0, 500):
        detector = Detector(limit, every=tests * 1e6)
        assert first_alarm(detector, np.full(clean, limit / 2)) is None
        assert first_alarm(detector, np.full(steady, limit * times)) is not None
    for seed in range(20):
        samples = np.random.default_rng(seed).exponential(limit * times, scattered)
        assert first_alarm(Detector(limit, every=tests * 1e6), samples) is not None


@pytest.mark.parametrize("rise, samples", [(0.001, 17_414), (0.01, 1750), (0.1, 183)])
def test_a_loss_that_rises_is_found_as_soon_as_documented(rise: float, samples: int) -> None:
    below = 1.0 + 0.0005 * log(2)
    assert samples == ceil(log(BETS * 3e6) / log(1 + rise / below))
    assert first_alarm(Detector(0.0, floor=-below, every=3e6), np.full(samples, rise)) is not None


def test_differences_may_be_negative() -> None:
    rng = np.random.default_rng(1)
    detector = Detector(0.0003, floor=-0.01, every=1e6)
    assert first_alarm(detector, rng.normal(0.0, 0.001, 5000)) is None
    assert first_alarm(detector, rng.normal(0.0015, 0.001, 1000)) is not None


def test_what_is_not_finite_is_an_alarm_until_reset() -> None:
    detector = Detector(1.0)
    assert detector.add(float("nan")) and detector.add(0.0)
    detector.reset()
    assert not detector.add(0.0) and detector.evidence == 0.0


@pytest.mark.parametrize("limit, floor, every", [(0.0, 0.0, 10), (1.0, 0.0, 1.0), (np.nan, 0, 10)])
def test_limits_that_mean_nothing_are_errors(limit: float, floor: float, every: float) -> None:
    with pytest.raises(ConfigError):
        Detector(limit, floor=floor, every=every)
