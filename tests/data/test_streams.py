from __future__ import annotations

import json
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from recstack.data import streams
from recstack.data.streams.recorded import read_stream
from recstack.errors import ConfigError, DataError

DATA = Path(__file__).parents[2].parent / "shared/data/trace_meta_dlrm"


@cache
def recorded(name: str) -> np.ndarray:
    path = DATA / f"reuse_{name}_table_500K.txt.gz"
    if not path.exists():
        pytest.skip(f"needs the recorded stream {path}")
    return read_stream(path)


def local(n: int = 40_000) -> np.ndarray:
    """A stream of strong short-range reuse: rows come back from the last few hundred lookups."""
    rng = np.random.default_rng(5)
    stream = np.arange(n)
    back = rng.integers(1, 400, n)
    for i in np.flatnonzero(rng.random(n) < 0.6).tolist():
        stream[i] = stream[max(i - back[i], 0)]
    return stream


def check_like(made: np.ndarray, original: np.ndarray, capacities: tuple[int, ...]) -> None:
    for got, want in zip(
        streams.reuse_histogram(made), streams.reuse_histogram(original), strict=True
    ):
        assert np.abs(got - want).max() < 0.01
    for capacity in capacities:
        rates = [streams.lru_hit_rate(s, capacity) for s in (made, original)]
        assert rates[0] == pytest.approx(rates[1], abs=0.03), capacity


@pytest.mark.parametrize("name", ["low", "medium"])
def test_a_fitted_stream_reuses_rows_as_the_recorded_one(name: str) -> None:
    original = recorded(name)
    profile = streams.fit(original, "test")
    made = streams.Reuse(profile).draw(500_000, original.size, np.random.default_rng(1))
    check_like(made, original, (1000, 10_000))


@pytest.mark.parametrize("name", ["low", "medium"])
def test_the_shipped_profiles_are_those_of_the_recorded_streams(name: str) -> None:
    shipped = streams.parse(f"reuse:{name}")
    assert isinstance(shipped, streams.Reuse)
    assert shipped.profile == streams.fit(recorded(name), shipped.profile.origin)


@pytest.mark.parametrize(
    ("name", "at_1k", "at_10k"), [("low", 0.065, 0.147), ("medium", 0.556, 0.687)]
)
def test_the_shipped_profiles_have_the_recorded_hit_rates(
    name: str, at_1k: float, at_10k: float
) -> None:
    stream = streams.parse(f"reuse:{name}")
    made = stream.draw(500_000, stream.profile.lookups, np.random.default_rng(2))  # type: ignore[attr-defined]
    assert streams.lru_hit_rate(made, 1000) == pytest.approx(at_1k, abs=0.03)
    assert streams.lru_hit_rate(made, 10_000) == pytest.approx(at_10k, abs=0.03)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_local_reuse_survives_where_popularity_alone_would_not_show_it(seed: int) -> None:
    original = local()
    rng = np.random.default_rng(seed)
    made = streams.Reuse(streams.fit(original, "test")).draw(1 << 40, original.size, rng)
    check_like(made, original, (50, 200, 1000))
    shuffled = rng.permutation(original)
    assert streams.lru_hit_rate(shuffled, 200) < 0.1 < 0.5 < streams.lru_hit_rate(made, 200)


def test_longer_shorter_and_folded_streams() -> None:
    stream = streams.Reuse(streams.fit(local(), "test"))
    draw = lambda limit, count: stream.draw(limit, count, np.random.default_rng(3))  # noqa: E731
    whole, long = draw(10**6, 40_000), draw(10**6, 100_000)
    assert long.size == 100_000 and (long[:40_000] == whole).all()
    assert not np.array_equal(np.sort(long[40_000:80_000]), np.sort(whole))
    assert (draw(10**6, 50) == whole[:50]).all()
    assert draw(10**6, 0).size == 0
    assert np.unique(whole).size == stream.profile.rows
    small = draw(100, 40_000)
    assert small.min() >= 0 and small.max() < 100


def test_rows_lie_all_over_the_table() -> None:
    rows = np.unique(streams.parse("reuse:low").draw(10**7, 100_000, np.random.default_rng(4)))
    assert stats.kstest(rows / 1e7, "uniform").statistic < 0.01


@pytest.mark.parametrize("name", ["low", "medium"])
def test_a_million_lookups_take_less_than_a_second(name: str) -> None:
    stream = streams.parse(f"reuse:{name}")
    began = time.perf_counter()
    assert stream.draw(500_000, 1_000_000, np.random.default_rng(0)).size == 1_000_000
    assert time.perf_counter() - began < 1.0


@pytest.mark.parametrize("exponent", [0.6, 0.9, 1.0, 1.05, 1.5])
def test_zipf_ranks_follow_the_power_law(exponent: float) -> None:
    limit = 100_000
    ranks = streams.Zipf(exponent).ranks(limit, 1_000_000, np.random.default_rng(0))
    assert ranks.min() == 0 and ranks.max() < limit
    edges = np.unique(np.geomspace(1, limit + 1, 30).astype(np.int64)).astype(float)
    found = np.histogram(ranks + 1, edges)[0]
    power = 1 - exponent
    below = np.log(edges) if exponent == 1.0 else (edges**power - 1) / power
    mass = np.diff(below / below[-1])
    assert stats.chisquare(found, mass * found.sum()).pvalue > 1e-3


def test_uniform_is_uniform() -> None:
    drawn = streams.parse("uniform").draw(50, 100_000, np.random.default_rng(0))
    assert stats.chisquare(np.bincount(drawn, minlength=50)).pvalue > 1e-3


def test_a_recorded_stream_is_replayed_from_a_place_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "s.txt"
    path.write_text("\n".join(map(str, range(100, 200))))
    stream = streams.parse(f"file:{path}")
    one, two = (stream.draw(10**6, 250, np.random.default_rng(seed)) for seed in (1, 2))
    assert np.unique(one).size == 100 and (one[:150] == one[100:]).all()
    assert not np.array_equal(one, two)


@pytest.mark.parametrize("form", ["uniform", "zipf", "zipf:0.9", "reuse:low", "reuse:medium"])
def test_the_seed_decides(form: str) -> None:
    stream = streams.parse(form)
    one, same, other = (stream.draw(10**5, 1000, np.random.default_rng(s)) for s in (1, 1, 2))
    assert (one == same).all() and (one != other).any()
    assert one.dtype == np.int64 and one.min() >= 0 and one.max() < 10**5


def test_the_lru_of_a_loop_is_all_or_nothing() -> None:
    loop = np.arange(1000) % 100
    assert streams.lru_hit_rate(loop, 99) == 0.0
    assert streams.lru_hit_rate(loop, 100) == 0.9


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("power", "expected indices uniform"),
        ("zipf:x", "expected zipf:S"),
        ("zipf:0", "0 < S <= 10"),
        ("reuse", "expected indices uniform"),
        ("file:", "expected indices uniform"),
    ],
)
def test_a_bad_form_is_refused(form: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        streams.parse(form)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [[0, 1]]}, "at least once"),
        ({"counts": [[2, 1], [2, 1]]}, "every count once"),
        ({"counts": [[1 << 20, 1 << 20]]}, r"at most 2\^30 lookups"),
        ({"intervals": []}, "expected intervals of rows that come up to 2 times"),
        ({"intervals": [[-1, 2]]}, "none below 0"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_bad_profile_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    good = {"origin": "test", "counts": [[1, 5], [2, 3]], "intervals": [[1, 2]]}
    path = tmp_path / "p.json"
    path.write_text(json.dumps(good))
    assert streams.parse(f"reuse:{path}").profile.lookups == 11  # type: ignore[attr-defined]
    path.write_text(json.dumps(good | change))
    with pytest.raises(DataError, match=rf"p\.json: .*{message}"):
        streams.parse(f"reuse:{path}")
    with pytest.raises(DataError, match="cannot read"):
        streams.parse(f"reuse:{tmp_path / 'absent.json'}")
