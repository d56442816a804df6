from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recstack.engine.precision import ActivationRange
from recstack.engine.reference.int8 import quantise_rows
from recstack.errors import ConfigError
from recstack.precision.observer import HistogramObserver


def observed(*parts: np.ndarray, bins: int = 1024) -> HistogramObserver:
    observer = HistogramObserver(bins)
    for part in parts:
        observer.add(part)
    return observer


def measured_error(x: np.ndarray, over: ActivationRange) -> float:
    """Mean squared, through the quantisation that runs."""
    row = x.astype(np.float32)[None]
    return float(np.mean((quantise_rows(row, over).dequantised()[0] - row[0]).astype(float) ** 2))


def gaussian_with_outliers(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.concatenate([random.standard_normal(400_000), random.uniform(12, 20, 2)])


@pytest.mark.parametrize("seed", range(5))
def test_the_best_range_of_a_gaussian_with_outliers_is_narrower_and_errs_less(seed: int) -> None:
    x = gaussian_with_outliers(seed)
    observer = observed(x)
    best, whole = observer.best(), observer.min_max()
    assert whole == ActivationRange(float(x.min()), float(x.max()))
    assert best.high - best.low < 0.9 * (whole.high - whole.low)
    assert measured_error(x, best) < 0.95 * measured_error(x, whole)


def test_without_outliers_hardly_anything_is_cut() -> None:
    x = np.random.default_rng(0).uniform(-1, 3, 50_000)
    best = observed(x).best()
    assert best.low == pytest.approx(-1, abs=0.02) and best.high == pytest.approx(3, abs=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_the_error_foretold_is_the_error_measured(seed: int) -> None:
    x = gaussian_with_outliers(seed)
    observer = observed(x)
    for over in (observer.best(), observer.min_max(), ActivationRange(-2, 2)):
        assert observer.error(over) == pytest.approx(measured_error(x, over), rel=0.1)


def test_no_other_range_does_better() -> None:
    x = gaussian_with_outliers(7)
    least = measured_error(x, observed(x).best())
    random = np.random.default_rng(1)
    for _ in range(60):
        over = ActivationRange(-random.uniform(0, 6), random.uniform(0, 20))
        assert measured_error(x, over) > 0.93 * least


values = st.lists(st.floats(-(2.0**90), 2.0**90, width=32), max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(values, min_size=1, max_size=5), st.randoms())
def test_a_histogram_does_not_depend_on_order_splits_or_merges(parts, random) -> None:
    arrays = [np.array(part, np.float32) for part in parts]
    whole = observed(np.concatenate(arrays), bins=16)
    random.shuffle(arrays)
    merged = HistogramObserver(16)
    for array in arrays:
        merged.merge(observed(array, bins=16))
    for other in (observed(*arrays, bins=16), merged):
        assert (other.seen, other.low, other.high) == (whole.seen, whole.low, whole.high)
        assert np.array_equal(other._counts, whole._counts)
        assert other.best() == whole.best()


def test_doubling_the_bins_loses_no_value() -> None:
    observer = HistogramObserver(8)
    for size in (1e-30, -1e-3, 7, -1e20, 3e38):
        observer.add(np.array([size]))
    assert observer.seen == observer._counts.sum() == 5
    assert observer.min_max() == ActivationRange(-1e20, 3e38)


def test_zeros_cost_nothing_and_what_is_not_finite_is_left_out() -> None:
    observer = observed(np.array([0, 0, np.nan, np.inf, -np.inf, 2.0]))
    assert (observer.seen, observer.not_finite) == (3, 3)
    assert observer.min_max() == ActivationRange(0, 2)
    nothing = observed(np.zeros(5), np.zeros(0))
    assert nothing.best() == nothing.min_max() == ActivationRange(0, 0)
    assert nothing.error(nothing.best()) == 0


def test_values_after_a_relu_keep_their_zero_point() -> None:
    x = np.maximum(np.random.default_rng(3).standard_normal(30_000), 0)
    best = observed(x).best()
    assert best.low == 0 and 3 < best.high <= x.max()


def test_bins() -> None:
    with pytest.raises(ConfigError, match="power of two"):
        HistogramObserver(7)
    with pytest.raises(ConfigError, match="expected 8 bins"):
        HistogramObserver(8).merge(HistogramObserver(16))
