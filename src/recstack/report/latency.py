"""Latency against offered load."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, groupby

from recstack.quantiles import Quantile
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, tag
from recstack.report.runs import Run
from recstack.report.svg.marks import Key, Shape
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import Scale, linear, log
from recstack.report.text import MS, badge, figures, interval, time, whole

SHARES = {0.50: "s0", 0.95: "s1", 0.99: "s3"}
SHAPES: tuple[Shape, ...] = ("dot", "ring", "diamond")
Curve = list[tuple[Run, Quantile]]


def latency(runs: Sequence[Run]) -> Markup:
    """Every run in a table; then one chart for each label, on common scales."""
    if not runs:
        return Markup()
    groups = [list(g) for _, g in groupby(sorted(runs, key=_order), key=lambda r: r.name)]
    values = [run.sla.limit_ns / MS for run in runs if run.sla]
    for run in runs:
        found = [p for q in SHARES if (p := run.latency(q))]
        values += [end / MS for p in found for end in (p.value, p.low, p.high)]
    scales = linear(run.record.rate_qps for run in runs), log(values)
    charts = [_chart(group, *scales, i) for i, group in enumerate(groups)]
    return section(
        "latency",
        "Latency against offered load",
        tag(
            "p",
            "From the scheduled arrival; a query that was refused, failed or lost counts as "
            "infinite. Warm-up is left out.",
        ),
        _runs(sorted(runs, key=_order)),
        _invalid(runs),
        tag("div", *charts, class_="charts"),
    )


def _order(run: Run) -> tuple[str, bool, str, float]:
    """In process before HTTP: the curve before what is added to it."""
    transport = run.record.transport
    return (run.name, transport != "in process", transport, run.record.rate_qps)


def _chart(group: Sequence[Run], rates: Scale, times: Scale, index: int) -> Markup:
    title = group[0].name
    plot = Plot(Axis(rates, "offered load (queries/s)"), Axis(times, "latency (ms)"))
    keys = []
    transports = list(dict.fromkeys(run.record.transport for run in group))
    for q, of in SHARES.items():
        for transport, shape in zip(transports, cycle(SHAPES), strict=False):
            part = [run for run in group if run.record.transport == transport]
            _curve(plot, [(run, p) for run in part if (p := run.latency(q))], q, of, shape)
        keys.append(Key("line", of, f"p{100 * q:g}"))
    keys += [Key(shape, "plain", t) for t, shape in zip(transports, cycle(SHAPES), strict=False)]
    keys.append(Key("band", "s0", "95% confidence"))
    if sla := group[0].sla:
        plot.across(sla.limit_ns / MS)
        keys.append(Key("limit", "", f"SLA {sla}"))
    if any(run.queries and run.latency_ns[-1] == float("inf") for run in group):
        keys.append(Key("up", "plain", "infinite: too few answered"))
    columns = [
        "Transport",
        "offered (queries/s)",
        *(f"p{100 * q:g} (ms), 95% interval" for q in SHARES),
    ]
    numbers = [
        (
            run.record.transport,
            figures(run.record.rate_qps, 4),
            *(_cell(run.latency(q)) for q in SHARES),
        )
        for run in group
    ]
    description = "Latency percentiles with confidence bands at each offered load."
    return figure(
        title,
        "Bands are from order statistics and take queries as independent; queueing makes the true "
        "ones wider.",
        plot.svg(f"latency-{index}", f"Latency of {title}", description),
        table(f"Latency of {title}", columns, numbers),
        [run.record.origin for run in group],
        keys,
    )


def _curve(plot: Plot, curve: Curve, q: float, of: str, shape: Shape) -> None:
    """Line and band; a percentile that is infinite breaks the line."""
    for finite, part in groupby(curve, key=lambda pair: pair[1].value < float("inf")):
        points = [(run.record.rate_qps, p) for run, p in part]
        if finite:
            plot.band([(x, p.low / MS, p.high / MS) for x, p in points], of)
            plot.line([(x, p.value / MS) for x, p in points], of)
        if len(points) == 1 and finite:
            x, p = points[0]
            plot.whisker(x, p.low / MS, p.high / MS, of)
        for x, p in points:
            words = f"p{100 * q:g} at {figures(x, 4)} queries/s: {_cell(p)} ms"
            plot.mark((x, p.value / MS), shape if finite else "up", of, words)


def _cell(found: Quantile | None) -> str:
    if not found:
        return "–"
    low, high = found.low / MS, found.high / MS
    if low == float("inf"):
        return time(low, "ms")
    return f"{time(found.value, 'ms')} ({interval(low, high)})"


def _runs(runs: Sequence[Run]) -> Markup:
    columns = ["Run", "transport", "offered (queries/s)", "answered (queries/s)", "queries"]
    columns += ["not answered", "p50 (ms)", "p95 (ms)", "p99 (ms)", "SLA", "measurement", ""]
    rows = [
        (
            run.name,
            run.record.transport,
            figures(run.record.rate_qps, 4),
            figures(run.achieved_qps, 4),
            whole(run.queries),
            refusals(run),
            *(time(p.value if (p := run.latency(q)) else None, "ms") for q in SHARES),
            "–" if not run.sla else "met" if run.within_sla else "missed",
            "INVALID" if run.reasons else "valid" if run.sla else "not judged",
            badge(run.record.origin),
        )
        for run in runs
    ]
    return table("Load runs", columns, rows, text=(0, 1, 5, 9, 10, 11))


def refusals(run: Run) -> str:
    """Queries that were not answered, by status."""
    parts = [f"{n:,} {name.replace('_', ' ')}" for name, n in run.counts.items() if name != "ok"]
    return ", ".join(parts) or "0"


def _invalid(runs: Sequence[Run]) -> Markup:
    """Why runs are invalid, and what their queries failed with."""
    lines = [
        tag("li", tag("strong", "INVALID"), f" {run.heading}: {'; '.join(run.reasons)}")
        for run in runs
        if run.reasons
    ]
    lines += [
        tag("li", f"Errors of {run.heading}: {'; '.join(run.record.errors)}")
        for run in runs
        if run.record.errors
    ]
    return tag("ul", *lines, class_="problems") if lines else Markup()
