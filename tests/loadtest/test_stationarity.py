"""Warm-up and drift on transients whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import lfilter

from recstack.loadtest.stationarity import BLOCKS, drift, still_warming_up, warmup_cut

N = 6000


def waits(load: float, count: int, seed: int) -> np.ndarray:
    """Sojourn times in an M/M/1 queue that starts empty, service of mean 1 (Lindley)."""
    rng = np.random.default_rng(seed)
    service, gaps = rng.standard_exponential((2, count))
    steps = np.cumsum(service[:-1] - gaps[1:] / load)
    walk = np.concatenate(([0.0], steps))
    return walk - np.minimum.accumulate(walk) + service


def transient(kind: str, length: int) -> np.ndarray:
    at = np.arange(N)
    shapes = {
        "step": np.where(at < length, 8.0, 0.0),
        "decay": 12.0 * np.exp(-at / (length / 4)),
        "ramp": 10.0 * np.clip(1 - at / length, 0, None),
    }
    return shapes[kind]


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("kind", ["step", "decay", "ramp"])
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_a_transient_is_cut_and_its_bias_goes(kind: str, correlation: float, seed: int) -> None:
    length = 600
    noise = np.random.default_rng(seed).standard_exponential(N) - 1.0
    steady = 3.0 + lfilter([1.0], [1.0, -correlation], noise) * (1 - correlation**2) ** 0.5
    cold = steady + transient(kind, length)
    cut = warmup_cut(cold)
    assert cut >= (length if kind == "step" else length / 3)
    assert abs(cold[cut:].mean() - steady[cut:].mean()) < 0.05 * 3.0
    assert abs(cold.mean() - steady.mean()) > 0.08 * 3.0
    assert drift(cold[cut:]) == 1.0


def test_a_steady_run_keeps_most_of_its_queries() -> None:
    cuts = [warmup_cut(np.random.default_rng(s).standard_exponential(N)) for s in range(40)]
    assert np.mean(cuts) < 0.08 * N and max(cuts) <= 0.25 * N


def test_nothing_to_look_at_is_not_cut() -> None:
    assert warmup_cut(np.full(30, 1.0)) == 0
    assert warmup_cut(np.full(1000, np.inf)) == 0
    assert drift(np.full(1000, np.inf)) == drift(np.arange(10.0 * BLOCKS - 1)) == 1.0


def test_unanswered_queries_at_the_start_are_warm_up() -> None:
    latency = np.random.default_rng(0).standard_exponential(2000)
    latency[:100] = np.inf
    assert warmup_cut(latency) >= 100


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_a_queue_within_its_capacity_is_steady(load: float) -> None:
    drifting = 0
    for seed in range(60):
        latency = waits(load, 10_000, seed)
        drifting += drift(latency[warmup_cut(latency) :]) != 1.0
    assert drifting <= 1


@pytest.mark.parametrize("load", [1.1, 1.5, 3.0])
def test_a_queue_past_its_capacity_drifts(load: float) -> None:
    for seed in range(20):
        latency = waits(load, 10_000, seed)
        assert drift(latency[warmup_cut(latency) :]) > 1.5


def test_a_step_in_the_middle_drifts_and_a_small_trend_does_not() -> None:
    noise = np.random.default_rng(1).standard_exponential(N)
    assert drift(5.0 + noise + np.arange(N) / N) == 1.0
    assert drift(2.0 + noise - np.arange(N) / (N / 2.2)) < 1 / 1.5


def test_a_run_that_is_all_warm_up_shows_at_the_bound() -> None:
    steady = waits(0.5, N, seed=1)
    assert not still_warming_up(steady)
    ramp = np.linspace(20.0, 0.0, N) + steady
    assert warmup_cut(ramp) > 0.95 * N / 4 and still_warming_up(ramp)
    assert not still_warming_up(np.zeros(N)) and not still_warming_up(steady[:30])
