"""What queries waited for, from what lanes ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recstack.report.records import Timeline

HANDOVER_NS = 20_000
"""A lane that is idle no longer than this is between two batches, not kept idle."""
Cause = Literal["queue", "lane", "window", "accelerator"]
CAUSES: dict[Cause, str] = {
    "queue": "others went first",
    "lane": "it was next, no lane was free",
    "window": "a lane stayed idle, to merge or while it woke",
    "accelerator": "the accelerator was busy",
}
Stretch = tuple[int, int, Cause]
"""Begin, end (ns) and cause."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A query's wait for its first lane, from its arrival; times in ns.

    stretches: what it waited for, one after another.
    larger: share of the lanes' time in the wait that went to queries with more rows.
    """

    query: int
    begin_ns: int
    end_ns: int
    stretches: tuple[Stretch, ...]
    larger: float

    @property
    def wait_ns(self) -> int:
        """How long."""
        return self.end_ns - self.begin_ns

    def share(self, cause: Cause) -> float:
        """The part of the wait that had this cause."""
        spent = sum(end - begin for begin, end, of in self.stretches if of == cause)
        return spent / self.wait_ns if self.wait_ns else 0.0


def waits(record: Timeline) -> list[Wait]:
    """Every traced query's wait, the longest first."""
    kinds = record.lane_kinds or ("lane",) * record.lanes
    lanes = {kind: _Lanes(record, [k == kind for k in kinds]) for kind in sorted(set(kinds))}
    shared = _shared(record)
    found = []
    for query in np.unique(record.chunk_query):
        own = np.flatnonzero(record.chunk_query == query)
        first = own[record.chunk_start_ns[own].argmin()]
        begin = int(record.arrival_ns[query])
        end = max(int(record.chunk_start_ns[first]), begin)
        kind = kinds[record.chunk_lane[first]]
        stretches: Sequence[Stretch] = lanes[kind].stretches(begin, end)
        if kind == "accelerator":
            stretches = [
                (a, b, "window" if c == "window" else "accelerator") for a, b, c in stretches
            ]
        larger = _larger(record, int(query), begin, end, shared)
        found.append(Wait(int(query), begin, end, tuple(stretches), larger))
    return sorted(found, key=lambda wait: -wait.wait_ns)


class _Lanes:
    """Lanes of one kind: when batches start, and when a lane is idle."""

    def __init__(self, record: Timeline, of_kind: Sequence[bool]) -> None:
        inside = np.asarray(of_kind)[record.chunk_lane]
        # Chunks of one merged batch share one stretch of lane time.
        batches = np.unique(
            np.stack([record.chunk_lane, record.chunk_start_ns, record.chunk_end_ns])[:, inside],
            axis=1,
        )
        self._starts = np.sort(batches[1])
        times = np.concatenate([batches[1], batches[2]])
        steps = np.repeat([1, -1], batches.shape[1])
        order = np.lexsort((steps, times))  # where they fall together an end comes first
        busy = np.cumsum(steps[order])
        times = times[order]
        free = np.concatenate([[True], busy < sum(of_kind)])
        # (n, 2): from each change to "a lane is idle" to the next one back
        edges = np.concatenate([[np.iinfo(np.int64).min], times, [np.iinfo(np.int64).max]])
        idle = np.stack([edges[:-1][free], edges[1:][free]], axis=1)
        self._idle = idle[idle[:, 1] - np.maximum(idle[:, 0], 0) > HANDOVER_NS]

    def stretches(self, begin: int, end: int) -> list[Stretch]:
        """What a query that came at `begin` and started at `end` waited for."""
        if end <= begin:
            return []
        last = np.searchsorted(self._starts, end) - 1
        next_ns = max(int(self._starts[last]), begin) if last >= 0 else begin
        inside = (self._idle[:, 1] > begin) & (self._idle[:, 0] < end)
        idle = [(max(int(a), begin), min(int(b), end)) for a, b in self._idle[inside]]
        edges = sorted({begin, next_ns, end, *(t for pair in idle for t in pair)})
        found: list[Stretch] = []
        for a, b in pairwise(edges):
            held = any(low <= a and b <= high for low, high in idle)
            cause: Cause = "window" if held else "queue" if b <= next_ns else "lane"
            if found and found[-1][2] == cause:
                a = found.pop()[0]
            found.append((a, b, cause))
        return found


def _shared(record: Timeline) -> NDArray[np.float64]:
    """(chunks,) how many chunks share each one's stretch of lane time."""
    stretch = np.stack([record.chunk_lane, record.chunk_start_ns])
    _, which, counts = np.unique(stretch, axis=1, return_inverse=True, return_counts=True)
    each: NDArray[np.float64] = counts[which.reshape(-1)].astype(np.float64)
    return each


def _larger(
    record: Timeline, query: int, begin: int, end: int, shared: NDArray[np.float64]
) -> float:
    """The share of all lanes' time that larger queries took."""
    if end <= begin:
        return 0.0
    overlap = np.minimum(record.chunk_end_ns, end) - np.maximum(record.chunk_start_ns, begin)
    spent = np.maximum(overlap, 0) / shared
    of_larger = record.rows[record.chunk_query] > record.rows[query]
    return float(spent[of_larger].sum() / ((end - begin) * record.lanes))
