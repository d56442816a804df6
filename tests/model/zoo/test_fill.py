from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from recstack.model.zoo import fill
from recstack.model.zoo.graph import WeightSpec


def filled(
    n: int, seed: int = 0, stream: int = 0, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    out = np.empty(n, np.float32)
    fill.fill_uniform_reference(out, seed, stream, low, high)
    return out


def native() -> Any:
    module = pytest.importorskip("recstack._native", exc_type=ImportError)
    if not hasattr(module, "fill_uniform"):
        pytest.skip("the extension has no fill_uniform")
    return module


def test_known_values() -> None:
    """Saved seeds rely on the formula: it may never change."""
    assert fill.block_key(0, 0, 0) == 0x238275BC38FCBE91
    assert fill.block_key(7, 8, 1) == 0x03C7CA5DB7CEC164
    assert fill.stream_of("tables.0") == 0xD3C52A87D0591807
    assert (filled(3) * 2**24).tolist() == [12328669, 892593, 5636170]


def test_uniform() -> None:
    x = filled(1_000_000, seed=3, stream=9)
    assert stats.kstest(x[:100_000], "uniform").pvalue > 1e-3
    assert abs(x.mean() - 0.5) < 3 * x.std() / 1000 and abs(x.var() - 1 / 12) < 3e-4
    assert stats.chisquare(np.bincount((x * 1024).astype(int))).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 32, 64, 65536])
def test_no_correlation(lag: int) -> None:
    x = filled(1 << 18, seed=1)
    assert abs(np.corrcoef(x[:-lag], x[lag:])[0, 1]) < 0.01


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": 1}, {"seed": 1 << 63}])
def test_seeds_and_streams_are_independent(other: dict[str, int]) -> None:
    a, b = filled(1 << 16), filled(1 << 16, **other)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.02
    assert np.intersect1d(a[:2000], b[:2000]).size < 5


def test_a_longer_fill_begins_like_a_shorter_one() -> None:
    assert np.array_equal(filled(200_000)[:1000], filled(1000))


def test_range() -> None:
    x = filled(100_000, low=-3.0, high=-2.5)
    assert -3 <= x.min() < -2.999 and -2.501 < x.max() <= -2.5
    assert (filled(10, low=0.25, high=0.25) == 0.25).all()


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 65_535, 65_537, 3_000_001])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_native_gives_the_same_bits(n: int, threads: int) -> None:
    out = np.empty(n, np.float32)
    seed, stream = 2**64 - 3, 0xFEDCBA9876543210
    native().fill_uniform(out, seed, stream, -0.3, 0.7, threads)
    twin = filled(n, seed, stream, -0.3, 0.7)
    assert np.array_equal(out.view(np.int32), twin.view(np.int32)), f"seed {seed}"


def test_native_pages() -> None:
    owner, huge = native().empty_pages(5 << 20)
    assert owner.dtype == np.uint8 and owner.shape == (5 << 20,) and isinstance(huge, bool)
    assert owner.ctypes.data % 64 == 0 and not owner.any()
    owner[:] = 1


def test_filled_weights_are_aligned_and_read_only() -> None:
    specs = {
        "a": WeightSpec((3,), 0.0, 1.0),
        "b": WeightSpec((2000, 8), -1.0, 1.0),
        "c": WeightSpec((), 0.0, 1.0),
        "d": WeightSpec((0, 4), 0.0, 1.0),
    }
    found = fill.filled(specs, seed=5)
    assert {n: a.shape for n, a in found.items()} == {n: s.shape for n, s in specs.items()}
    assert all(not a.flags.writeable for a in found.values())
    twin = filled(16_000, 5, fill.stream_of("b"), -1.0, 1.0).reshape(2000, 8)
    assert np.array_equal(found["b"], twin)


def test_weights_do_not_depend_on_the_others() -> None:
    spec = WeightSpec((100,), 0.0, 1.0)
    alone = fill.filled({"b": spec}, seed=1)["b"]
    assert np.array_equal(alone, fill.filled({"a": spec, "b": spec}, seed=1)["b"])


def test_available_bytes() -> None:
    assert 1 << 20 < fill.available_bytes() <= 1 << 62
    assert fill.usable_cpus() >= 1
