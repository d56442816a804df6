from __future__ import annotations

import gzip
import math
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from recstack.errors import ConfigError, DataError
from recstack.loadtest import arrivals

SEEDED = ("poisson", "gamma:cv=2", "mmpp", "diurnal:period_s=10", "deeprecsys")
ALL = (*SEEDED, "uniform")


def draw(form: str, rate_qps: float, count: int, seed: int = 0) -> np.ndarray:
    return arrivals.parse(form)(rate_qps, count, np.random.default_rng(seed))


def counts_in(times: np.ndarray, window_s: float) -> np.ndarray:
    """Arrivals in each whole window."""
    ids = times // int(window_s * 1e9)
    return np.bincount(ids[ids < ids[-1]])


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


@pytest.mark.parametrize("cv", [0.3, 1.0, 1.5, 5.0])
def test_gamma_gaps_have_their_variation(cv: float) -> None:
    gaps = np.diff(draw(f"gamma:cv={cv}", 1.0, 400_000, 1), prepend=0) / 1e9
    assert gaps.mean() == pytest.approx(1.0, rel=0.03)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.03)
    if cv < 2:  # beyond, many gaps are under a nanosecond
        assert stats.kstest(gaps, "gamma", (1 / cv**2, 0, cv**2)).pvalue > 0.01


def test_gamma_of_variation_one_is_poisson() -> None:
    gaps = np.diff(draw("gamma:cv=1", 500.0, 100_000, 3), prepend=0) * 500e-9
    assert stats.kstest(gaps, "expon").pvalue > 0.01


@pytest.mark.parametrize("window_s", [0.1, 1.0, 10.0])
def test_bursts_have_the_dispersion_of_theory(window_s: float) -> None:
    """Heffes and Lucantoni: the variance of counts over their mean, by window."""
    process = arrivals.Mmpp(burst=8.0, calm_s=2.0, burst_s=0.5)
    calm, burst = process.rates(200.0)
    out, back = 1 / 2.0, 1 / 0.5
    both = out + back
    excess = 2 * (burst - calm) ** 2 * out * back / (both**2 * (calm * back + burst * out))
    want = 1 + excess * (1 - (1 - math.exp(-both * window_s)) / (both * window_s))
    counts = counts_in(process(200.0, 2_000_000, np.random.default_rng(4)), window_s)
    assert counts.mean() / window_s == pytest.approx(200.0, rel=0.03)
    assert counts.var() / counts.mean() == pytest.approx(want, rel=0.15)


def test_bursts_come_at_the_same_times_at_every_rate() -> None:
    slow, fast = (
        counts_in(draw("mmpp", rate, n, 5), 0.5) for rate, n in ((1e3, 10**5), (4e3, 4 * 10**5))
    )
    n = min(slow.size, fast.size)
    assert np.corrcoef(slow[:n], fast[:n])[0, 1] > 0.97


def test_a_burst_of_one_is_poisson() -> None:
    gaps = np.diff(draw("mmpp:burst=1", 100.0, 50_000, 6), prepend=0) / 1e7
    assert stats.kstest(gaps, "expon").pvalue > 0.01


@pytest.mark.parametrize("swing", [0.0, 0.5, 1.0])
def test_a_day_follows_its_rate(swing: float) -> None:
    """Time rescaled by the rate's integral is a Poisson process of rate 1."""
    process = arrivals.Diurnal(period_s=20.0, swing=swing)
    t = process(1000.0, 200_000, np.random.default_rng(7)) / 1e9
    turn = 2 * math.pi / 20.0
    expected = 1000.0 * (t + swing * (1 - np.cos(turn * t)) / turn)
    assert stats.kstest(np.diff(expected, prepend=0), "expon").pvalue > 0.01
    assert t.size / t[-1] == pytest.approx(1000.0, rel=0.01)
    if swing == 0.5:
        quarter = np.bincount((t % 20 // 5).astype(int))
        assert quarter[0] / quarter[3] == pytest.approx(
            (1 + 1 / math.pi) / (1 - 1 / math.pi), rel=0.02
        )


def test_a_trace_keeps_its_shape_at_the_rate_asked_for(tmp_path: Path) -> None:
    recorded = np.cumsum(np.random.default_rng(8).lognormal(0, 1, 5000)) + 1.7e9
    path = tmp_path / "t.txt.gz"
    path.write_bytes(gzip.compress("\n".join(f"{x:.6f}" for x in recorded).encode()))
    times = draw(f"trace:{path}", 800.0, 15_000)
    assert times[0] == 0
    assert 15_000 / (times[-1] / 1e9) == pytest.approx(800.0, rel=0.001)
    assert np.corrcoef(np.diff(times[:5000]), np.diff(recorded))[0, 1] > 0.999999
    assert np.abs(np.diff(times[:5000]) - np.diff(times[5000:10_000])).max() <= 2


def test_the_released_generators_gaps_are_not_poisson_arrivals() -> None:
    """Whole milliseconds; variation 1 / sqrt(mean gap in ms) instead of 1."""
    gaps = np.diff(draw("deeprecsys", 200.0, 100_000, 9), prepend=0)
    assert (gaps % 1_000_000 == 0).all()
    values, found = np.unique(gaps // 1_000_000, return_counts=True)
    want = stats.poisson(5.0).pmf(values) * gaps.size
    keep = want > 5
    assert (
        stats.chisquare(found[keep], want[keep] * found[keep].sum() / want[keep].sum()).pvalue
        > 0.001
    )
    assert gaps.std() / gaps.mean() == pytest.approx(0.447, abs=0.01)
    assert "compatibility" in arrivals.describe("deeprecsys")
    assert arrivals.describe("gamma:cv=2") == "gamma:cv=2"


@pytest.mark.parametrize("form", ALL)
def test_every_process_has_its_rate_its_seed_and_its_prefix(form: str) -> None:
    long, short, other = (
        draw(form, 700.0, 140_000),
        draw(form, 700.0, 100),
        draw(form, 700.0, 100, 1),
    )
    assert long.dtype == np.int64 and (np.diff(long) >= 0).all()
    assert 140_000 / (long[-1] / 1e9) == pytest.approx(700.0, rel=0.1 if form == "mmpp" else 0.02)
    assert (long[:100] == short).all()
    assert (short != other).any() or form not in SEEDED


@pytest.mark.parametrize("form", ALL)
def test_a_million_arrivals_take_less_than_a_second(form: str) -> None:
    began = time.perf_counter()
    assert draw(form, 1e5, 1_000_000).size == 1_000_000
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("rate_qps", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("form", ALL)
def test_a_bad_rate_is_refused(form: str, rate_qps: float) -> None:
    with pytest.raises(ConfigError, match="rate > 0"):
        draw(form, rate_qps, 10)


def test_a_bad_count_or_length_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 arrival, got 0"):
        draw("poisson", 1.0, 0)
    with pytest.raises(ConfigError, match="100 years"):
        draw("uniform", 1e-9, 100)
    with pytest.raises(ConfigError, match="switches of mmpp"):
        draw("mmpp:calm_s=1e-9,burst_s=1e-9", 1.0, 1000)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("bursty", r"poisson \| uniform \| gamma:cv=CV .*, got 'bursty'"),
        ("poisson:2", "got 'poisson:2'"),
        ("gamma", "expected gamma:cv=CV, got 'gamma'"),
        ("gamma:cv=0", "gamma:cv over 0 and up to 20, got 0.0"),
        ("gamma:cv=nan", "gamma:cv over 0"),
        ("gamma:cv=x", "expected a number for cv, got 'x'"),
        ("gamma:sd=1", "expected gamma:cv=.., got"),
        ("gamma:cv=1,cv=2", "expected gamma:cv=.., got"),
        ("mmpp:burst=0.5", "mmpp:burst from 1"),
        ("mmpp:calm_s=0", "mmpp:calm_s over 0"),
        ("diurnal:swing=1.1", "diurnal:swing from 0 to 1"),
        ("diurnal:period_s=-1", "diurnal:period_s over 0"),
        ("trace", "got 'trace'"),
    ],
)
def test_a_bad_form_is_refused(form: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        arrivals.parse(form)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\n3\n2\n", "ascend, got a smaller one - at time 2"),
        ("1\n1\n", "two different finite times"),
        ("1\n", "two different finite times"),
        ("1\nnan\n", "two different finite times"),
        ("", "got none"),
        ("one\n", "one number per line"),
    ],
)
def test_a_bad_trace_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "trace.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=rf"trace\.txt: .*{message}"):
        arrivals.parse(f"trace:{path}")
