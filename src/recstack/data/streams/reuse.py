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
    length = profile.lookups
    times = np.empty(length)
    begin = 0
    for count, rows in profile.counts:
        end = begin + count * rows
        _place(profile, length, times[begin:end].reshape(rows, count), rng)
        begin = end
    counts = np.repeat(*np.array(profile.counts).T)
    # Time above row in one integer: sorting those is twice as fast as an argsort.
    bits = int(profile.rows).bit_length()
    ticks = (times * 2.0 ** (62 - bits - length.bit_length())).astype(np.int64) << bits
    ticks |= np.repeat(np.arange(profile.rows), counts)
    ticks.sort()
    return ticks & ((1 << bits) - 1)


def _place(
    profile: Profile, length: int, times: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """Times (rows, count) of rows that come equally often, in lookups since the stream's start."""
    rows, count = times.shape
    times[:, 0] = 0.0
    if count > 1:
        histogram = profile.intervals[int(octaves(np.array([count]))[0]) - 1]
        intervals = _intervals(histogram, rows * (count - 1), rng).reshape(rows, -1)
        np.cumsum(intervals, axis=1, out=times[:, 1:])
    spans = times[:, -1:]
    # Spans that do not fit shrink into the stream; uniformly, so that they do not all end with it.
    fitting = length * rng.random((rows, 1)) ** 0.1 / np.maximum(spans, 1.0)
    times *= np.where(spans < length, 1.0, fitting)
    times += rng.random((rows, 1)) * (length - times[:, -1:])


def _intervals(
    histogram: tuple[int, ...], count: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Intervals (count,) from a histogram over half octaves, log-uniform inside each."""
    share = np.concatenate(([0.0], np.cumsum(histogram, dtype=np.float64)))
    octave = np.interp(rng.random(count), share / share[-1], np.arange(share.size) / STEPS)
    return np.exp2(octave)
