from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from recstack.errors import ConfigError
from recstack.quantiles import beyond, binomial_cdf, needed, quantile, within


@pytest.mark.parametrize(("n", "p"), [(1, 0.5), (20, 0.01), (1000, 0.95), (200_000, 0.999)])
def test_the_binomial_is_scipys(n: int, p: float) -> None:
    k = np.unique(np.linspace(0, n, 200).astype(int))
    assert binomial_cdf(n, p)[k] == pytest.approx(stats.binom.cdf(k, n, p), abs=1e-9)
    for over in k[:: max(k.size // 20, 1)].tolist():
        assert within(over, n, p) == pytest.approx(stats.binom.cdf(over, n, p), rel=1e-6)
        assert beyond(over, n, p) == pytest.approx(stats.binom.sf(over - 1, n, p), rel=1e-6)


@pytest.mark.parametrize(
    ("over", "least"), [(0, 459), (1, 662), (2, 838), (5, 1307), (10, 2010), (100, 12571)]
)
def test_early_stopping_is_mlperfs(over: int, least: int) -> None:
    assert needed(0.01, 0.99, over) == least


def test_early_stopping_at_p90() -> None:
    assert (needed(0.10), needed(0.10, over=1)) == (44, 64)


@pytest.mark.parametrize("n", [1, 2, 7, 20, 100, 101])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.95, 0.99])
def test_the_value_is_the_nearest_rank(n: int, share: float) -> None:
    values = np.random.default_rng(n).standard_exponential(n)
    got = quantile(values, share)
    assert got.value == np.quantile(values, share, method="inverted_cdf")
    assert got.low <= got.value <= got.high


@pytest.mark.parametrize(("n", "share"), [(200, 0.5), (1000, 0.95), (2000, 0.99)])
def test_intervals_cover_as_often_as_they_say(n: int, share: float) -> None:
    truth = -math.log1p(-share)
    rng = np.random.default_rng(11)
    runs = [quantile(rng.standard_exponential(n), share, 0.95) for _ in range(2000)]
    covered = float(np.mean([q.low <= truth <= q.high for q in runs]))
    assert 0.945 <= covered <= 0.985  # at least as stated; ranks are whole numbers


def test_a_small_sample_says_that_it_does_not_know() -> None:
    few = quantile(np.arange(10.0), 0.99)
    assert few.high == math.inf and few.value == 9.0
    assert quantile(np.arange(10.0), 0.01).low == -math.inf


def test_infinite_values_are_the_largest() -> None:
    values = np.concatenate([np.arange(95.0), np.full(5, np.inf)])
    assert quantile(values, 0.95).value == 94.0
    assert quantile(values, 0.96).value == math.inf


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one value"):
        quantile(np.zeros(0), 0.5)
    for share in (0.0, 1.0, 95.0):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            quantile(np.zeros(3), share)
