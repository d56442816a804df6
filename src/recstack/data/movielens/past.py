"""Running sums that answer only about strictly earlier events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Past:
    """Running sums per key; answers only about strictly earlier events.

    key: (events,) int64 below 2^31. time: (events,) int64 below 2^32. values: (events, columns)
    int64: integers, so that a later event cannot change an earlier sum by rounding.

    >>> past = Past(np.array([7, 7, 7]), np.array([1, 2, 2]), np.array([[10], [20], [40]]))
    >>> past.sums(np.array([7, 7, 8]), np.array([2, 3, 3])).tolist()
    [[10.0], [70.0], [0.0]]
    """

    def __init__(self, key: Ints, time: Ints, values: Ints) -> None:
        self.order = np.argsort(key << 32 | time, kind="stable")
        self._at = (key << 32 | time)[self.order]
        self._sums = np.concatenate(
            [np.zeros((1, values.shape[1]), np.int64), values[self.order].cumsum(axis=0)]
        )

    def span(self, key: Ints, time: Ints, last: int | None = None) -> tuple[Ints, Ints]:
        """First and last + 1 position in `order` of the events of `key` before `time`."""
        end = np.searchsorted(self._at, key << 32 | time)
        first = np.searchsorted(self._at, key << 32)
        return first if last is None else np.maximum(first, end - last), end

    def sums(self, key: Ints, time: Ints, last: int | None = None) -> Floats:
        """(requests, columns) float64: sums over the events, or the `last` ones, before `time`."""
        first, end = self.span(key, time, last)
        return np.asarray(self._sums[end] - self._sums[first], np.float64)
