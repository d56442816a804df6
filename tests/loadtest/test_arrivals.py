from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from recstack.errors import ConfigError
from recstack.loadtest import arrivals


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate_qps", [0.5, 1000.0, 250_000.0])
def test_poisson_gaps_are_exponential(rate_qps: float, seed: int) -> None:
    times = arrivals.poisson(rate_qps, 100_000, np.random.default_rng(seed))
    gaps = np.diff(times, prepend=0) * rate_qps / 1e9
    assert times.dtype == np.int64
    assert gaps.min() >= 0
    assert gaps.mean() == pytest.approx(1.0, abs=0.01)
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)
    assert stats.kstest(gaps, "expon").pvalue > 0.01
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.02


def test_counts_in_windows_are_poisson() -> None:
    times = arrivals.poisson(1000.0, 100_000, np.random.default_rng(4))
    counts = np.bincount(times[times < 90_000_000_000] // 10_000_000)
    assert counts.var() / counts.mean() == pytest.approx(1.0, abs=0.05)


def test_the_pattern_is_the_same_at_every_rate_and_length() -> None:
    slow = arrivals.poisson(100.0, 1000, np.random.default_rng(5))
    fast = arrivals.poisson(400.0, 500, np.random.default_rng(5))
    assert np.abs(slow[:500] - 4 * fast).max() <= 4


def test_uniform_gaps_are_fixed() -> None:
    times = arrivals.uniform(3.0, 1_000_000, np.random.default_rng(0))
    gaps = np.diff(times, prepend=0)
    assert set(gaps.tolist()) == {333_333_333, 333_333_334}
    assert times[-1] == round(1_000_000 / 3 * 1e9)


@pytest.mark.parametrize("rate_qps", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("process", arrivals.PROCESSES.values())
def test_a_bad_rate_is_refused(process: arrivals.Process, rate_qps: float) -> None:
    with pytest.raises(ConfigError, match="rate > 0"):
        process(rate_qps, 10, np.random.default_rng(0))


def test_a_bad_count_length_or_name_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match="at least 1 arrival, got 0"):
        arrivals.poisson(1.0, 0, rng)
    with pytest.raises(ConfigError, match="100 years"):
        arrivals.uniform(1e-9, 100, rng)
    with pytest.raises(ConfigError, match=r"poisson \| uniform, got 'bursty'"):
        arrivals.parse("bursty")
