"""Precision plans: what was tried and proven, what was chosen, and how far each op is from fp32."""

from __future__ import annotations

from collections.abc import Sequence

from recstack.report.document import Document, Entry
from recstack.report.figure import facts, figure, section, table
from recstack.report.markup import Markup, join, tag
from recstack.report.records import OpError, Precision, Tried
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.rows import Row, rows_chart
from recstack.report.svg.scale import Scale, linear
from recstack.report.text import NONE, duration, figures, share, whole

MOST_PLOTS = 24
HEIGHT_PX = 110
NO_ERROR_DB = 200.0
MOST_DB = 120.0
VERDICTS = {
    "proven": "proven within the budget",
    "too_small": "not proven: the data are too small",
    "not_within": "not proven: no plan keeps the budget",
    "not_faster": "proven within the budget, but not faster than fp32",
}


def precision(document: Document) -> Markup:
    """Every search: its verdict, its plans with their intervals, and the chosen precisions."""
    parts = [_search(document, e, i) for i, e in enumerate(document.of(Precision))]
    return section("precision", "Precision", *parts) if parts else Markup()


def _search(document: Document, entry: Entry[Precision], index: int) -> Markup:
    data = entry.data
    pairs = [
        ("model", document.name(entry, data.model)),
        ("verdict", VERDICTS[data.verdict]),
        ("budget", f"{data.metric} worse by at most {data.budget}"),
    ]
    if data.deployment == "before":
        pairs.append(
            ("plan.toml beside it", "still the deployment from before, not of this report")
        )
    if data.bytes:
        pairs.append(("tables and layers, fp32 and plan", _pair(data.bytes, "bytes")))
    if data.ns:
        pairs.append((f"time of {data.rows} rows, fp32 and plan", _pair(data.ns, "ns")))
    return join(
        (
            facts(pairs),
            tag("p", data.reason),
            _tried(data, index) if data.tried else None,
            _chosen(data) if data.chosen else None,
        )
    )


def _pair(values: tuple[float, float], unit: str) -> str:
    shown = [whole(int(v)) + " B" if unit == "bytes" else duration(v) for v in values]
    return f"{shown[0]}, {shown[1]} ({share(values[1] / values[0])})" if values[0] else shown[0]


def _tried(data: Precision, index: int) -> Markup:
    """The plans in the order in which they were tried, with the budget."""
    per_cent = 100.0 if data.relative else 1.0
    limit = data.limit * per_cent
    # A plan far past the budget would squeeze all others into a line: its interval is cut.
    finite = [(n, t, t.harm) for n, t in enumerate(data.tried, start=1) if t.harm is not None]
    reach = [v * per_cent for _, _, harm in finite for v in (harm.low, harm.high)]
    axis = Axis(
        linear([0.0, limit, *(min(max(v, -4 * limit), 4 * limit) for v in reach)], zero=True),
        f"{data.metric} worse by ({'%' if data.relative else data.metric})",
    )
    rows = []
    for number, t, harm in finite:
        ends = (harm.low * per_cent, harm.high * per_cent)
        name = f"{number}, {t.rows} rows"
        shown = figures(harm.value * per_cent)
        rows.append(
            Row(
                name, f"{t.outcome}, cost {_cost(t.cost, data.unit)}",
                of="s0" if t.rows == "proof" else "s1", interval=ends,
                marks=[
                    (limit, "tick", "s2", f"budget: {data.budget}"),
                    (harm.value * per_cent, "dot", "s0" if t.rows == "proof" else "s1", shown),
                ],
            )
        )  # fmt: skip
    title = f"Plans tried: {data.model}, {data.metric}"
    keys = [Key("dot", "s1", "search rows"), Key("dot", "s0", "proof rows"),
            Key("tick", "s2", "budget")]  # fmt: skip
    return figure(
        title,
        "How much worse the metric is than in fp32 on the same rows, with its paired bootstrap "
        "interval; below 0 it is better. Intervals past four budgets are cut.",
        rows_chart(f"precision-{index}", title, "Harm of each plan with its interval.", axis, rows),
        table(title, ["Plan", "rows", "harm", "low", "high", f"cost ({data.unit})", "outcome"],
              [_numbers(n, t) for n, t in enumerate(data.tried, start=1)], text=(0, 1, 6)),
        ["measured"],
        keys,
    )  # fmt: skip


def _numbers(number: int, t: Tried) -> tuple[str, ...]:
    ends = (t.harm.value, t.harm.low, t.harm.high) if t.harm else ()
    shown = [f"{v:.3e}" for v in ends] or ["not finite"] * 3
    return (str(number), t.rows, *shown, figures(t.cost), t.outcome)


def _chosen(data: Precision) -> Markup:
    rows = [
        (c.name, c.kind, c.precision, _cost(c.cost, data.unit), _cost(c.fp32_cost, data.unit),
         c.note)
        for c in data.chosen
    ]  # fmt: skip
    heads = ["Table or layer", "kind", "precision", "cost", "cost in fp32", "why"]
    return table(f"Chosen precisions of {data.model}", heads, rows, text=(0, 1, 2, 5))


def _cost(cost: float, unit: str) -> str:
    return f"{whole(round(cost))} B" if unit == "bytes" else duration(cost)


def op_errors(document: Document) -> Markup:
    """The numeric debugger: ops by how far they are from fp32, and their values' histograms."""
    entries = document.of(OpError)
    if not entries:
        return Markup()
    off = [e for e in entries if e.data.own is not None and e.data.own.sqnr_db < NO_ERROR_DB]
    worst = off[:MOST_PLOTS]
    plots = [_values(document, e, i) for i, e in enumerate(worst)]
    return section(
        "op-errors",
        "Numeric debugger",
        tag(
            "p",
            "Signal to quantisation noise of every op against fp32 on the same rows, the worst "
            "first. Own: from fp32 inputs, what the op's precision adds by itself. Total: with the "
            "errors of all ops before it. Those without an error of their own are in the table.",
        ),
        _sqnr(document, worst),
        tag("div", *plots, class_="charts"),
        _all_ops(document, entries),
    )


def _sqnr(document: Document, entries: Sequence[Entry[OpError]]) -> Markup:
    if not entries:
        return Markup()
    rows = []
    shown = [min(s.sqnr_db, MOST_DB) for e in entries for s in (e.data.total, e.data.own) if s]
    axis = Axis(linear(shown, zero=True), "SQNR (dB), higher is better")
    for entry in entries:
        d = entry.data
        assert d.own is not None
        total_db = min(d.total.sqnr_db, MOST_DB)
        rows.append(
            Row(
                document.name(entry, d.unit or d.name),
                f"{d.precision}: own {_db(d.own.sqnr_db)}, total {_db(d.total.sqnr_db)} dB",
                bar=max(min(d.own.sqnr_db, MOST_DB), axis.scale.low),
                marks=[(total_db, "tick", "s1", f"total {d.total.sqnr_db:.1f}")],
            )
        )
    title = "Error of each table and layer"
    return figure(
        title,
        f"The shorter the bar, the worse. Bars end at {MOST_DB:g} dB.",
        rows_chart("op-sqnr", title, "SQNR of each op, own and total.", axis, rows),
        table(title, ["Layer or table", "SQNR"], [(r.name, r.note) for r in rows], (0, 1)),
        [e.data.origin for e in entries],
        [Key("bar", "s0", "own"), Key("tick", "s1", "total")],
    )


def _db(value: float) -> str:
    return "∞" if value >= NO_ERROR_DB else f"{value:.1f}"


def _values(document: Document, entry: Entry[OpError], index: int) -> Markup:
    """Histograms of an op's values, fp32 and quantised, as shares of all on a root scale."""
    data = entry.data
    name, v = document.name(entry, data.unit or data.name), data.values
    total = max(sum(v.reference), sum(v.quantised), 1)
    # Roots, so that the rare values far out, which set the range, still show.
    heights = [[(n / total) ** 0.5 for n in counts] for counts in (v.reference, v.quantised)]
    top = max((*heights[0], *heights[1]), default=1.0) or 1.0
    x = linear([v.low, v.high], zero=False, ticks=3)
    marks = ((0.0, "0"), (top / 2, share((top / 2) ** 2)), (top, share(top**2)))
    plot = Plot(Axis(x, "value"), Axis(Scale(0.0, top, marks, float), "share of values"), HEIGHT_PX)
    width = (v.high - v.low) / max(len(v.reference), 1)
    for counts, of in zip(heights, ("s1", "s0"), strict=True):
        points = [(v.low + i * width, h) for i, h in enumerate(counts)]
        plot.step([*points, (v.high, counts[-1] if counts else 0.0)], of)
    columns = f" Input columns that stand out: {_some(data.columns)}." if data.columns else ""
    return figure(
        f"{name}, {data.precision}",
        f"Largest error {figures(data.total.largest)}.{columns}",
        plot.svg(f"op-values-{index}", f"Values of {name}", "Histograms of fp32 and quantised."),
        table(f"Values of {name}", ["From", "fp32", "quantised"],
              [(f"{v.low + i * width:.4g}", whole(a), whole(b))
               for i, (a, b) in enumerate(zip(v.reference, v.quantised, strict=True))]),
        [data.origin],
        [Key("line", "s1", "fp32"), Key("line", "s0", "quantised")],
    )  # fmt: skip


def _some(columns: Sequence[int]) -> str:
    text = ", ".join(map(str, columns[:8]))
    return text if len(columns) <= 8 else f"{text} and {len(columns) - 8} more"


def _all_ops(document: Document, entries: Sequence[Entry[OpError]]) -> Markup:
    rows = []
    for entry in entries:
        d = entry.data
        own = (NONE, NONE) if d.own is None else (_db(d.own.sqnr_db), figures(d.own.largest))
        rows.append(
            (
                document.name(entry, d.name), d.kind, d.unit or NONE, d.precision or NONE, *own,
                _db(d.total.sqnr_db), figures(d.total.largest),
                NONE if d.saturation is None else share(d.saturation), _some(d.columns) or NONE,
            )
        )  # fmt: skip
    heads = ["Op", "kind", "layer or table", "precision", "own SQNR (dB)", "own largest error",
             "total SQNR (dB)",
             "total largest error", "saturated", "columns that stand out"]  # fmt: skip
    return table("Ops against fp32", heads, rows, text=(0, 1, 2, 3, 9))
