"""What each query waited for: lanes in time, the queries below, and the longest waits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.report.document import Document, Entry
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import Timeline
from recstack.report.svg.gantt import Bar, Line, gantt
from recstack.report.svg.marks import Key, legend
from recstack.report.svg.plot import Axis
from recstack.report.svg.scale import linear
from recstack.report.text import MS, badge, share, time, whole
from recstack.report.waits import CAUSES, Cause, Wait, waits

MOST_QUERIES = 24
LONGEST = 8
MANY_LANES, THIN_PX, LABELLED = 8, 8, 5
HEAD_PX = 24
Traced = tuple[str, Timeline, list[Wait]]
"""Name, record, and its waits, the longest first."""
COLOURS: dict[Cause, str] = {"queue": "s1", "lane": "s4", "window": "plain", "accelerator": "s5"}


def timeline(document: Document) -> Markup:
    """Over all queries of each traced run; then a window around its longest wait."""
    entries = [entry for entry in document.of(Timeline) if entry.data.chunk_query.size]
    if not entries:
        return Markup()
    # The known policies, side by side.
    columns = "charts small" if len(entries) % 3 == 0 else "charts"
    traced = [(_name(document, entry), entry.data, waits(entry.data)) for entry in entries]
    return section(
        "timeline",
        "What queries waited for",
        tag("p", "A wait lasts from a query's arrival to its first chunk. The longest of each run, "
            "and what was around it: above, the chunks that each lane ran; below, the queries of "
            "that time, named by their rows."),
        _totals(traced),
        legend(_keys(traced)),
        tag("div", *(_chart(*one, i) for i, one in enumerate(traced)), class_=columns),
    )  # fmt: skip


def _name(document: Document, entry: Entry[Timeline]) -> str:
    found = entry.data
    name = f"{found.model}: {found.label}" if found.model else found.label
    return document.name(entry, f"{name}, {found.lanes} lanes")


def _totals(traced: Sequence[Traced]) -> Markup:
    """Where the waits of each run went."""
    causes = _causes(of for *_, of in traced)
    columns = ["Run", "queries", "mean wait (ms)", "p95 (ms)"]
    columns += [*causes, "refused", ""]
    rows = []
    for name, record, found in traced:
        ns = np.array([wait.wait_ns for wait in found], np.float64)
        spent = [sum(w.share(c) * w.wait_ns for w in found) / max(ns.sum(), 1.0) for c in causes]
        refused = "–" if not record.refused_ns.size else whole(int((record.refused_ns >= 0).sum()))
        times = [time(float(t), "ms") for t in (ns.mean(), np.quantile(ns, 0.95))]
        shares = [share(part) for part in spent]
        rows.append((name, whole(ns.size), *times, *shares, refused, badge(record.origin)))
    return table("What queries waited for", columns, rows, text=(0, len(columns) - 1))


def _causes(found: Iterable[list[Wait]]) -> list[Cause]:
    """Those to name: the accelerator only where a query waited for it."""
    seen = {cause for of in found for wait in of for *_, cause in wait.stretches}
    return [cause for cause in CAUSES if cause != "accelerator" or cause in seen]


def _chart(name: str, record: Timeline, longest: list[Wait], index: int) -> Markup:
    by_query = {wait.query: wait for wait in longest}
    about = _shown(record, longest[0])
    begin = int(record.arrival_ns[about].min())
    ended = record.chunk_end_ns[np.isin(record.chunk_query, about)]
    end = int(max(ended.max(initial=0), _refused(record)[about].max(initial=0)))
    axis = Axis(linear([0.0, (end - begin) / MS]), "time (ms)")
    lines = [_lane(record, lane, begin, end) for lane in range(record.lanes)]
    lines.append(Line("rows", [], HEAD_PX))
    lines += [_query(record, int(q), by_query.get(int(q)), begin) for q in about]
    causes = _causes([longest])
    rows = [
        (
            f"query {wait.query}", whole(int(record.rows[wait.query])), time(wait.wait_ns, "ms"),
            *(share(wait.share(cause)) for cause in causes), share(wait.larger),
        )
        for wait in longest[:LONGEST]
    ]  # fmt: skip
    columns = ["Query", "rows", "waited (ms)", *causes, "lanes' time on larger queries"]
    return figure(
        name,
        "",
        gantt(f"timeline-{index}", f"Timeline of {name}", "Lanes and queries.", axis, lines),
        table(f"Longest waits of {name}", columns, rows),
        [record.origin],
    )


def _keys(traced: Sequence[Traced]) -> list[Key]:
    keys = [
        Key("bar", "s0", "chunk of a query up to the median of rows"),
        Key("bar", "s3", "of a larger one"),
        *(
            Key("bar", COLOURS[cause], f"waits, {cause}: {CAUSES[cause]}")
            for cause in _causes(found for *_, found in traced)
        ),
        Key("bar", "s2", "from the first chunk to the last"),
    ]
    refused = any((record.refused_ns >= 0).any() for _, record, _ in traced)
    return [*keys, Key("bar", "bad", "waits, then refused")] if refused else keys


def _refused(record: Timeline) -> NDArray[np.int64]:
    """(queries,) when each was refused, -1 for the others."""
    return record.refused_ns if record.refused_ns.size else np.full(record.rows.size, -1)


def _shown(record: Timeline, longest: Wait) -> NDArray[np.int64]:
    """The queries that arrived while the longest wait went on, and just before."""
    seen = np.union1d(record.chunk_query, np.flatnonzero(_refused(record) >= 0))
    at = int(np.searchsorted(seen, longest.query))
    until = int(np.searchsorted(record.arrival_ns[seen], longest.end_ns))
    first = max(min(at - MOST_QUERIES // 4, until - MOST_QUERIES), 0)
    return seen[first : first + MOST_QUERIES]


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
    accelerates = bool(record.lane_kinds) and record.lane_kinds[lane] == "accelerator"
    name = f"accel. {lane}" if accelerates else f"lane {lane}"
    if record.lanes <= MANY_LANES:
        return Line(name, bars)
    return Line(name if accelerates or lane % LABELLED == 0 else "", bars, THIN_PX)


def _query(record: Timeline, query: int, wait: Wait | None, begin: int) -> Line:
    """Its wait and its work, or the time until it was refused."""
    rows = int(record.rows[query])
    words, name = f"query {query}, {rows} rows", f"{rows}"
    if wait is None:
        ends = [record.arrival_ns[query], _refused(record)[query]]
        low, high = ((int(t) - begin) / MS for t in ends)
        return Line(name, [Bar(low, high, "bad", f"{words}: refused after {high - low:.3g} ms")])
    bars = []
    for low, high, cause in wait.stretches:
        told = f"{words}: waited {(high - low) / MS:.3g} ms, {cause}: {CAUSES[cause]}"
        bars.append(Bar((low - begin) / MS, (high - begin) / MS, COLOURS[cause], told))
    last = int(record.chunk_end_ns[record.chunk_query == query].max())
    start, stop = (wait.end_ns - begin) / MS, (last - begin) / MS
    bars.append(Bar(start, stop, "s2", f"{words}: ran {stop - start:.3g} ms"))
    return Line(name, bars)
