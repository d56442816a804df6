"""What each query waited for: lanes in time, and what stood before the longest waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.report.document import Document
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import Timeline
from recstack.report.svg.gantt import Bar, Line, gantt
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis
from recstack.report.svg.scale import linear
from recstack.report.text import UNITS_NS, share, time, whole

MS = UNITS_NS["ms"]
MOST_QUERIES = 24
LONGEST = 8


@dataclass(frozen=True, slots=True)
class Wait:
    """A query's wait for its first lane, ns, and what the lanes did meanwhile, as shares of it.

    larger, smaller: ran chunks of queries with more rows than this one, or as many and fewer.
    """

    query: int
    begin_ns: int
    end_ns: int
    larger: float
    smaller: float

    @property
    def wait_ns(self) -> int:
        """How long."""
        return self.end_ns - self.begin_ns

    @property
    def idle(self) -> float:
        """Lanes were idle: a wait for company, or for the lane to wake."""
        return max(0.0, 1.0 - self.larger - self.smaller)


def timeline(document: Document) -> Markup:
    """For each traced run: a window around its longest wait, and a table of the longest."""
    charts = [
        _chart(document.name(entry, entry.data.label), entry.data, i)
        for i, entry in enumerate(document.of(Timeline))
        if entry.data.chunk_query.size
    ]
    if not charts:
        return Markup()
    return section(
        "timeline",
        "What queries waited for",
        tag(
            "p",
            "Above, what each lane ran; below, the queries of that time, by their rows: the wait "
            "for a lane, then the time from the first chunk to the last.",
        ),
        *charts,
    )


def waits(record: Timeline) -> list[Wait]:
    """Every traced query's wait, the longest first."""
    found = []
    for query in np.unique(record.chunk_query):
        own = record.chunk_query == query
        begin, end = int(record.arrival_ns[query]), int(record.chunk_start_ns[own].min())
        larger, smaller = _ahead(record, int(query), begin, end)
        found.append(Wait(int(query), begin, max(end, begin), larger, smaller))
    return sorted(found, key=lambda wait: -wait.wait_ns)


def _ahead(record: Timeline, query: int, begin: int, end: int) -> tuple[float, float]:
    """Shares of lane time in the wait that went to larger and to other queries."""
    if end <= begin:
        return 0.0, 0.0
    overlap = np.minimum(record.chunk_end_ns, end) - np.maximum(record.chunk_start_ns, begin)
    spent = np.where(record.chunk_query == query, 0, np.maximum(overlap, 0)).astype(np.float64)
    # Chunks of one merged batch share one stretch of lane time.
    stretch = np.stack([record.chunk_lane, record.chunk_start_ns], axis=1)
    _, which, counts = np.unique(stretch, axis=0, return_inverse=True, return_counts=True)
    spent /= counts[which.reshape(-1)]
    of_larger = record.rows[record.chunk_query] > record.rows[query]
    room = (end - begin) * record.lanes
    return float(spent[of_larger].sum() / room), float(spent[~of_larger].sum() / room)


def _chart(label: str, record: Timeline, index: int) -> Markup:
    longest = waits(record)
    first = longest[0]
    about = _shown(record, first)
    begin = int(record.arrival_ns[about].min())
    end = max(int(record.chunk_end_ns[record.chunk_query == q].max()) for q in about)
    axis = Axis(linear([0.0, (end - begin) / MS]), "time (ms)")
    lines = [_lane(record, lane, begin, end) for lane in range(record.lanes)]
    lines += [_query(record, int(q), begin) for q in about]
    title = f"Timeline of {label}"
    rows = [
        (
            f"query {wait.query}", whole(int(record.rows[wait.query])), time(wait.wait_ns, "ms"),
            share(wait.larger), share(wait.smaller), share(wait.idle),
        )
        for wait in longest[:LONGEST]
    ]  # fmt: skip
    columns = ["Query", "rows", "waited (ms)", "lanes on larger queries", "on others", "idle"]
    middle = float(np.median(record.rows))
    keys = [
        Key("bar", "s0", f"chunk of a query up to {middle:,.0f} rows (the median)"),
        Key("bar", "s3", "of a larger one"),
        Key("bar", "s1", "waits for a lane"),
        Key("bar", "s2", "from its first chunk to its last"),
    ]
    return figure(
        label,
        "Around the longest wait of the run; the table has the longest waits of all.",
        gantt(f"timeline-{index}", title, "Lanes and queries in time.", axis, lines),
        table(f"Longest waits of {label}", columns, rows),
        [record.origin],
        keys,
    )


def _shown(record: Timeline, longest: Wait) -> NDArray[np.int64]:
    """The queries that arrived while the longest wait went on, and just before."""
    traced = np.unique(record.chunk_query)
    at = int(np.searchsorted(traced, longest.query))
    until = int(np.searchsorted(record.arrival_ns[traced], longest.end_ns))
    first = max(min(at - MOST_QUERIES // 4, until - MOST_QUERIES), 0)
    return traced[first : first + MOST_QUERIES]


def _lane(record: Timeline, lane: int, begin: int, end: int) -> Line:
    middle = np.median(record.rows)
    inside = (record.chunk_lane == lane) & (record.chunk_end_ns > begin)
    bars = []
    for i in np.flatnonzero(inside & (record.chunk_start_ns < end)):
        query = int(record.chunk_query[i])
        rows = int(record.rows[query])
        at = [(int(t[i]) - begin) / MS for t in (record.chunk_start_ns, record.chunk_end_ns)]
        words = f"query {query}, {rows} rows, {at[1] - at[0]:.3g} ms"
        bars.append(Bar(at[0], at[1], "s3" if rows > middle else "s0", words))
    return Line(f"lane {lane}", bars)


def _query(record: Timeline, query: int, begin: int) -> Line:
    own = record.chunk_query == query
    times: Sequence[float] = [
        (int(t) - begin) / MS
        for t in (
            record.arrival_ns[query], record.chunk_start_ns[own].min(),
            record.chunk_end_ns[own].max(),
        )
    ]  # fmt: skip
    rows = int(record.rows[query])
    words = f"query {query}, {rows} rows"
    return Line(
        f"{rows}",
        [
            Bar(times[0], times[1], "s1", f"{words}: waited {times[1] - times[0]:.3g} ms"),
            Bar(times[1], times[2], "s2", f"{words}: ran {times[2] - times[1]:.3g} ms"),
        ],
    )
