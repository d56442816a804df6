"""Ranges for static activations: a histogram over what a layer reads, and the best range of it.

Bins are a power of two wide and start at 0, so that doubling their width joins them in pairs
exactly: a histogram does not depend on how its values were split, ordered or merged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recstack.engine.precision import ActivationRange
from recstack.errors import ConfigError

STEPS = 255  # of the u8 that activations become
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


class HistogramObserver:
    """Counts values in bins and chooses the range that quantises them best; no values are kept.

    bins: on each side of 0. seen: values so far, finite ones only; zeros, which every range keeps
    exactly, are among them, but in no bin. low, high: the smallest and largest, with 0 among them.

    >>> observer = HistogramObserver()
    >>> observer.add(np.append(np.linspace(-1, 2, 1_000_000), 9))
    >>> observer.min_max()
    ActivationRange(low=-1.0, high=9.0)
    >>> round(observer.best().high, 1)
    3.4
    """

    def __init__(self, bins: int = 1024) -> None:
        if bins < 2 or bins & (bins - 1):
            raise ConfigError(f"expected a power of two, 2 or more, got {bins} - at `bins`")
        self.bins = bins
        self.seen = self.not_finite = 0
        self.low = self.high = 0.0
        self._exponent: int | None = None  # bins are 2^exponent wide; None before the first value
        self._counts = np.zeros(2 * bins, np.int64)  # of [(i - bins) width, (i - bins + 1) width)

    def add(self, values: NDArray[np.floating]) -> None:
        """Count `values`, of any shape; NaN and infinities are left out (`not_finite`)."""
        x = values[np.isfinite(values)].astype(np.float64)
        self.not_finite += values.size - x.size
        self.seen += x.size
        x = x[x != 0]
        if not x.size:
            return
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        self._widen(self._least_exponent())
        assert self._exponent is not None
        at = np.floor(np.ldexp(x, -self._exponent)).astype(np.int64) + self.bins
        self._counts += np.bincount(at, minlength=2 * self.bins)

    def merge(self, other: HistogramObserver) -> None:
        """Count what `other`, of as many bins, has counted, as if all had been added here."""
        if other.bins != self.bins:
            raise ConfigError(f"expected {self.bins} bins, got {other.bins} - at `merge`")
        self.seen += other.seen
        self.not_finite += other.not_finite
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        if other._exponent is None:
            return
        self._widen(max(self._least_exponent(), other._exponent))
        assert self._exponent is not None
        self._counts += _joined(other._counts, self._exponent - other._exponent)

    def min_max(self) -> ActivationRange:
        """The range of all values so far, and 0."""
        return ActivationRange(self.low, self.high)

    def best(self) -> ActivationRange:
        """The range whose squared quantisation error over the values so far is least.

        Every pair of bin edges is tried, the outermost being the smallest and largest value: no
        local optimum. Ties go to the widest range.
        """
        if self._exponent is None:
            return self.min_max()
        edges = np.ldexp(np.arange(self.bins + 1, dtype=np.float64), self._exponent)
        low = np.unique(np.maximum(-edges, self.low))
        high = np.unique(np.minimum(edges, self.high))[::-1]
        errors = self._errors(low[:, None], high)
        i, j = np.unravel_index(np.argmin(errors), errors.shape)
        return ActivationRange(float(low[i]), float(high[j]))

    def error(self, given: ActivationRange) -> float:
        """The mean squared error of quantising the values so far over `given`, as `best` has it.

        A value past the range is off by its distance from it; one inside by an even share of one
        step, whose mean square is step^2 / 12. Values stand in the middle of their bins.
        """
        low, high = np.array([min(given.low, 0.0)]), np.array([max(given.high, 0.0)])
        return float(self._errors(low[:, None], high)[0, 0]) / max(self.seen, 1)

    def _errors(self, low: Floats, high: Floats) -> Floats:
        """Summed squared errors of all pairs of low (a, 1) and high (b,), (a, b)."""
        exponent = self._exponent or 0
        middle = np.ldexp(np.arange(-self.bins, self.bins) + 0.5, exponent)
        n = self._counts.astype(np.float64)
        moments = [np.append(0.0, np.cumsum(n * middle**p)) for p in range(3)]
        # Bins wholly below `low` and wholly above `high`.
        a = np.floor(np.ldexp(low, -exponent)).astype(np.int64) + self.bins
        b = np.minimum(np.ceil(np.ldexp(high, -exponent)).astype(np.int64) + self.bins, n.size)
        below = [m[a] for m in moments]
        above = [m[-1] - m[b] for m in moments]
        inside = moments[0][-1] - below[0] - above[0]
        rounding = inside * ((high - low) / STEPS) ** 2 / 12
        return np.asarray(rounding + _clipped(below, low) + _clipped(above, high))

    def _least_exponent(self) -> int:
        """The least exponent whose bins reach from `low` to `high`."""
        largest = max(-self.low, self.high)
        return int(np.frexp(largest / self.bins)[1])  # the least with largest < bins * 2^exponent

    def _widen(self, exponent: int) -> None:
        if self._exponent is None:
            self._exponent = exponent
        elif exponent > self._exponent:
            self._counts = _joined(self._counts, exponent - self._exponent)
            self._exponent = exponent


def _clipped(moments: list[Floats], end: Floats) -> Floats:
    """The summed squares of distances to `end`, from the sums of 1, x and x^2."""
    return np.asarray(moments[2] - 2 * end * moments[1] + end**2 * moments[0])


def _joined(counts: Counts, doublings: int) -> Counts:
    """Counts in bins 2^doublings times as wide."""
    bins = counts.size // 2
    at = (np.arange(-bins, bins) >> min(doublings, 62)) + bins
    joined = np.zeros_like(counts)
    np.add.at(joined, at, counts)
    return joined
