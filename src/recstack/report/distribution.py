"""The latency distribution of the main run, and what the load generator adds to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recstack.report.document import Document, Entry
from recstack.report.figure import facts, figure, section, table
from recstack.report.latency import refusals
from recstack.report.markup import Markup, join, tag
from recstack.report.records import Null
from recstack.report.runs import Run, main_run
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import log, tail
from recstack.report.text import MS, badge, duration, figures, time, whole

MARKS = (0.50, 0.95, 0.99)
LISTED = (0.50, 0.75, 0.90, 0.95, 0.99, 0.999)
STEPS = 600


def distribution(document: Document, runs: Sequence[Run]) -> Markup:
    """The distribution, with the generator's figures beside it."""
    run = main_run(runs)
    beside = [_lateness(run)] if run else []
    if run and run.record.arrivals:
        beside.append(_traffic(run))
    beside += [_null(document, entry) for entry in document.of(Null)]
    if not beside:
        return Markup()
    parts = [_curve(run) if run else None, tag("div", *beside, class_="beside")]
    return section("distribution", "Latency distribution", tag("div", join(parts), class_="charts"))


def _curve(run: Run) -> Markup:
    answered = run.latency_ns[np.isfinite(run.latency_ns)] / MS
    rows = [
        (f"p{100 * q:g}", time(p.value, "ms"), f"{time(p.low, 'ms')} to {time(p.high, 'ms')}")
        for q in LISTED
        if (p := run.latency(q))
    ]
    limit_ms = [run.sla.limit_ns / MS] if run.sla else []
    x = log([*answered[:1], *answered[-1:], *limit_ms])
    plot = Plot(Axis(x, "latency (ms)"), Axis(tail(1 / run.queries), "answered within"), 280)
    keys = [Key("line", "s0", "share of all queries")]
    if run.sla:
        plot.upright(run.sla.limit_ns / MS)
        keys.append(Key("limit", "", f"SLA {run.sla}"))
    plot.step(steps(answered, run.queries), "s0")
    for q in MARKS:
        p = run.latency(q)
        if p and np.isfinite(p.value):
            text = f"p{100 * q:g}  {duration(p.value)}"
            plot.mark((p.value / MS, q), "dot", "s0", text)
            plot.label((p.value / MS, q), text)
    of = f"{run.record.transport} run"
    chosen = (
        f"The {of} at the highest rate within its SLA."
        if run.good
        else f"No {of} is valid and within an SLA; this is the one at the lowest rate."
    )
    return figure(
        run.heading,
        f"{chosen} {run.queries:,} queries after warm-up; not answered: {refusals(run)}. "
        "Each further nine has the same height.",
        plot.svg(
            "ecdf", f"Latency distribution of {run.heading}", "Share answered within each time."
        ),
        table(f"Latency of {run.heading}", ["Percentile", "latency (ms)", "95% interval"], rows),
        [run.record.origin],
        keys,
    )


def steps(answered: np.ndarray, queries: int) -> list[tuple[float, float]]:
    """The empirical distribution function as points (latency, share), thinned but exact.

    answered: (k,) ascending; queries: k and those that were never answered. Of many points, those
    at equal steps of the share are kept, and all of the last ones.
    """
    k = answered.size
    if not k:
        return []
    even = np.linspace(0, k - 1, STEPS)
    last = k - 1 - np.geomspace(1, k, STEPS) + 1
    ranks = np.unique(np.concatenate((even, last)).astype(int)) if k > 2 * STEPS else np.arange(k)
    points = [(float(answered[r]), (r + 1) / queries) for r in ranks]
    return [(points[0][0], 0.0), *points]


def _lateness(run: Run) -> Markup:
    pairs = [(f"p{100 * q:g}", duration(run.lateness(q))) for q in (0.50, 0.99)]
    pairs.append(("most", duration(float(run.lateness_ns[-1]))))
    pairs.append(("queries", whole(run.queries)))
    return tag(
        "div",
        tag("h3", "Generator lateness ", badge(run.record.origin)),
        tag("p", "How long after its scheduled time each query of this run was issued."),
        facts(pairs),
    )


def _traffic(run: Run) -> Markup:
    names = ("arrivals", "sizes", "indices")
    pairs = [(name, getattr(run.record, name)) for name in names]
    return tag("div", tag("h3", "Traffic"), facts(pairs))


def _null(document: Document, entry: Entry[Null]) -> Markup:
    null = entry.data
    pairs = [
        *(
            (f"{system} {share}", duration(ns))
            for system, found in null.latency_ns.items()
            for share, ns in found.items()
        ),
        ("lateness p99", duration(null.lateness_p99_ns)),
        ("rate", f"{figures(null.rate_qps, 4)} queries/s"),
        ("queries", whole(null.queries)),
    ]
    return tag(
        "div",
        tag("h3", document.name(entry, "Null system"), " ", badge(null.origin)),
        tag("p", "Latency of a system that answers at once: the generator's own share."),
        facts(pairs),
    )
