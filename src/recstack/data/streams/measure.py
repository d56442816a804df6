"""What shows a stream's reuse: how often rows come, how soon again, what an LRU cache would hit."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_OCTAVES = 40


def reuse_histogram(stream: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of rows, and of lookups, by how often their row comes.

    Bucket 0 holds rows that come once, bucket k those that come 2^(k-1) + 1 to 2^k times, as in
    the histograms that Meta publishes with dlrm_datasets.

    >>> rows, lookups = reuse_histogram(np.array([7, 7, 7, 9]))
    >>> rows[:3].tolist(), lookups[:3].tolist()
    ([0.5, 0.0, 0.5], [0.25, 0.0, 0.75])
    """
    counts = np.unique(stream, return_counts=True)[1]
    octave = octaves(counts)
    rows = np.bincount(octave, minlength=MOST_OCTAVES) / counts.size
    lookups = np.bincount(octave, weights=counts, minlength=MOST_OCTAVES) / stream.size
    return rows, lookups


def octaves(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The smallest k with count <= 2^k, of counts >= 1."""
    exponents: NDArray[np.int64] = np.frexp(counts - 0.5)[1].astype(np.int64)
    return exponents


class Intervals(NamedTuple):
    """Every lookup of a row that came before: (m,) int64 each.

    lookups: from the row's last lookup to this one, >= 1. counts: how often its row comes in all.
    """

    lookups: NDArray[np.int64]
    counts: NDArray[np.int64]


def reuse_intervals(stream: NDArray[np.int64]) -> Intervals:
    """How soon rows come again.

    >>> reuse_intervals(np.array([7, 9, 7, 7])).lookups.tolist()
    [2, 1]
    """
    _, row, counts = np.unique(stream, return_inverse=True, return_counts=True)
    order = np.argsort(row, kind="stable")
    again = np.flatnonzero(np.diff(row[order]) == 0)
    return Intervals(np.diff(order)[again], counts[row[order[again]]])


def lru_hit_rate(stream: NDArray[np.int64], capacity: int) -> float:
    """The share of lookups that an LRU cache of `capacity` rows, empty at first, would hit.

    >>> lru_hit_rate(np.array([1, 2, 1, 3, 2]), 2)
    0.2
    """
    held: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for row in stream.tolist():
        if row in held:
            hits += 1
            held.move_to_end(row)
        else:
            held[row] = None
            if len(held) > capacity:
                held.popitem(last=False)
    return hits / len(stream)
