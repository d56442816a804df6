from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from recstack.errors import ConfigError, DataError
from recstack.loadtest import sizes


def top_quarter(rows: np.ndarray) -> float:
    """Share of all rows that the largest quarter of the queries holds."""
    ordered = np.sort(rows)
    return float(ordered[-(rows.size // 4) :].sum() / rows.sum())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_production_has_its_heavy_tail(seed: int) -> None:
    rows = sizes.Production().sample(200_000, np.random.default_rng(seed))
    assert top_quarter(rows) == pytest.approx(0.50, abs=0.02)
    assert rows.mean() == pytest.approx(168.6, rel=0.01)
    assert rows.min() >= 1 and rows.max() <= 1000
    p50, p95, p99 = np.percentile(rows, [50, 95, 99])
    assert (p50, p95, p99) == pytest.approx((130, 419, 793), rel=0.04)


def test_a_lognormal_of_the_same_share_has_a_lighter_tail() -> None:
    rng = np.random.default_rng(0)
    lognormal = sizes.Lognormal(4.9, 0.67, cap=100_000).sample(200_000, rng)
    production = sizes.Production().sample(200_000, rng)
    assert top_quarter(lognormal) == pytest.approx(0.50, abs=0.02)
    ratio = [np.percentile(x, 99) / np.percentile(x, 50) for x in (lognormal, production)]
    assert ratio[1] > 1.2 * ratio[0]


def test_mlperf_is_the_benchmarks_own_trace() -> None:
    rows = sizes.MLPerf().sample(400_000, np.random.default_rng(99))
    assert rows[:11].tolist() == [200, 200, 200, 200, 500, 700, 200, 100, 100, 500, 300]
    # The trace cuts the 89,137,319 pairs of day 23 into 330,067 samples.
    total = np.cumsum(rows)
    assert int(np.searchsorted(total, 89_137_319)) + 1 == 330_067


def test_mlperf_random_follows_the_seed() -> None:
    draw = sizes.parse("mlperf:random")
    rows = draw.sample(100_000, np.random.default_rng(1))
    assert rows.mean() == pytest.approx(270.0, rel=0.01)
    assert (rows[:20] != draw.sample(20, np.random.default_rng(2))).any()
    shares = dict(zip(*np.unique(rows, return_counts=True), strict=True))
    assert shares[200] / rows.size == pytest.approx(0.6, abs=0.01)


def test_lognormal_matches_its_parameters_and_its_cap() -> None:
    rows = sizes.parse("lognormal:5.1,0.2").sample(100_000, np.random.default_rng(3))
    assert np.log(rows).mean() == pytest.approx(5.1, abs=0.01)
    assert np.log(rows).std() == pytest.approx(0.2, abs=0.01)
    capped = sizes.parse("lognormal:5.1,0.2,150").sample(1000, np.random.default_rng(3))
    assert capped.max() == 150
    assert sizes.Lognormal(-9.0, 1.0).sample(1000, np.random.default_rng(3)).min() == 1


def test_normal_matches_its_parameters_and_its_cap() -> None:
    rows = sizes.parse("normal:165,16").sample(100_000, np.random.default_rng(3))
    assert (rows.mean(), rows.std()) == pytest.approx((165.0, 16.0), rel=0.01)
    wide = sizes.parse("normal:100,90,150").sample(1000, np.random.default_rng(3))
    assert (wide.min(), wide.max()) == (1, 150)


def test_recorded_sizes_are_replayed_or_drawn(tmp_path: Path) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text("10\n20\n20\n990\n")
    rng = np.random.default_rng(0)
    replayed = sizes.parse(f"file:{path}").sample(6, rng)
    assert replayed.tolist() == [10, 20, 20, 990, 10, 20]
    drawn = sizes.parse(f"file:{path},random").sample(40_000, rng)
    assert drawn.mean() == pytest.approx(260.0, rel=0.02)
    path.write_text("10\n0\n")
    with pytest.raises(DataError, match=r"sizes\.txt: expected sizes >= 1, got 0 - at number 2"):
        sizes.parse(f"file:{path}")
    with pytest.raises(DataError, match="one number per line"):
        sizes.parse(f"file:{tmp_path / 'absent'}")


def test_recycled_sizes_are_few_and_come_again() -> None:
    rows = sizes.parse("recycled:32,normal:165,16").sample(1000, np.random.default_rng(1))
    assert (rows[:32] == rows[32:64]).all() and 10 < np.unique(rows).size <= 32
    assert rows[:32].mean() == pytest.approx(165.0, rel=0.1)


@pytest.mark.parametrize(
    "text", ["fixed:64", "normal:165,16", "lognormal:5.1,0.2", "mlperf:random", "production"]
)
def test_samples_are_int64_and_seeded(text: str) -> None:
    draw = sizes.parse(text)
    one, two = (draw.sample(500, np.random.default_rng(7)) for _ in range(2))
    assert one.dtype == np.int64 and one.shape == (500,)
    assert (one == two).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed", "expected sizes fixed:ROWS"),
        ("fixed:0", "ROWS >= 1, got 0"),
        ("fixed:x", "expected numbers in sizes 'fixed:x'"),
        ("fixed:1,2", "got 'fixed:1,2'"),
        ("lognormal:1", "got 'lognormal:1'"),
        ("lognormal:1,-1", "SIGMA >= 0"),
        ("lognormal:nan,1", "expected lognormal"),
        ("lognormal:1,inf", "expected lognormal"),
        ("normal:1", "got 'normal:1'"),
        ("normal:1,-1", "SD >= 0"),
        ("recycled:0,fixed:1", "COUNT >= 1, got 0"),
        ("recycled:x,fixed:1", "COUNT,FORM, got"),
        ("recycled:3,other", "got 'other'"),
        ("mlperf:other", "got 'mlperf:other'"),
        ("production:2", "got 'production:2'"),
        ("", "got ''"),
    ],
)
def test_a_bad_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sizes.parse(text)


def test_the_stated_share_is_that_of_the_distribution() -> None:
    """The docstring's figures, from the distribution function."""
    edges = np.arange(1, 1000) + 0.5
    body = np.array([0.5 * (1 + math.erf((math.log(e) - 4.8) / (0.5 * 2**0.5))) for e in edges])
    tail = np.clip((1 - (200 / edges) ** 0.5) / (1 - 0.2**0.5), 0, 1)
    mass = np.diff(np.concatenate([[0], 0.9 * body + 0.1 * tail, [1]]))
    size = np.arange(1, 1001)
    mean = (mass * size).sum()
    above = np.cumsum(mass[::-1])
    k = int(np.searchsorted(above, 0.25))
    held = (mass * size)[::-1][:k].sum() + (0.25 - above[k - 1]) * size[::-1][k]
    assert mean == pytest.approx(168.6, abs=0.1)
    assert held / mean == pytest.approx(0.500, abs=0.001)
