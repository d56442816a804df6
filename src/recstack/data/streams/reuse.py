"""A stream with the reuse of a recorded one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.data.streams.measure import octaves
from recstack.data.streams.profile import STEPS, Profile
from recstack.data.streams.recorded import Recorded
from recstack.data.streams.stream import spread


@dataclass(frozen=True, slots=True)
class Reuse:
    """Lookups whose rows come as often, and as soon again, as the profile says.

    Every row gets its count from the profile, exactly; the intervals between its lookups are drawn
    from those of rows that come about as often; its first lookup lies anywhere that leaves room for
    them. All lookups in order of time are the stream. So the reuse histogram is exact, and the LRU
    curve follows from the intervals: what a cache holds at any time is set by how soon rows come
    again (Denning's working sets; Xiang et al., "HOTL", ASPLOS 2013).

    A stream longer than the profile's is several of them, one after another, over other rows.
    """

    profile: Profile

    def draw(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64; where the table has fewer rows than the profile, they fold."""
        length = self.profile.lookups
        parts = []
        for begin in range(0, count, length):
            ranks = _in_order(self.profile, rng)[: count - begin]
            parts.append(spread(ranks, limit, int(rng.integers(0, 1 << 31))))
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def recorded(self, rng: np.random.Generator) -> Recorded:
        """One such stream to be replayed: what many tables can share without drawing it again."""
        return Recorded(_in_order(self.profile, rng))


def _in_order(profile: Profile, rng: np.random.Generator) -> NDArray[np.int64]:
    """One stream of the profile's length; rows are numbered by how often they come."""
    often = np.array([count for count, _ in profile.counts])
    rows = np.array([n for _, n in profile.counts])
    length = profile.lookups
    counts = np.repeat(often, rows)
    first = np.cumsum(counts) - counts
    # Each row's lookups lie together: the interval before its first is 0.
    after = np.ones(length, np.bool_)
    after[first] = False
    octave = np.repeat(np.repeat(octaves(often), rows), counts)
    intervals = np.zeros(length)
    for k, histogram in enumerate(profile.intervals, 1):
        if (here := np.flatnonzero(after & (octave == k))).size:
            intervals[here] = _intervals(histogram, here.size, rng)
    spans = np.add.reduceat(intervals, first)
    # Spans that do not fit shrink into the stream; uniformly, so that they do not all end with it.
    shrunk = np.where(
        spans < length, 1.0, length * rng.random(counts.size) ** 0.1 / np.maximum(spans, 1.0)
    )
    begins = rng.random(counts.size) * (length - spans * shrunk)
    since = np.cumsum(intervals)
    since -= np.repeat(since[first], counts)
    times = since * np.repeat(shrunk, counts) + np.repeat(begins, counts)
    return np.repeat(np.arange(counts.size), counts)[np.argsort(times)]


def _intervals(
    histogram: tuple[int, ...], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Intervals (count,) from a histogram over half octaves, log-uniform inside each."""
    share = np.concatenate(([0.0], np.cumsum(histogram, dtype=np.float64)))
    octave = np.interp(rng.random(count), share / share[-1], np.arange(share.size) / STEPS)
    return np.exp2(octave)
