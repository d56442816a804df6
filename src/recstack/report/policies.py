"""QPS@SLA against the SLA, a line for each policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recstack.report.document import Document
from recstack.report.figure import figure, section, table
from recstack.report.headline import bracket
from recstack.report.markup import Markup, tag
from recstack.report.records import Found
from recstack.report.svg.marks import SERIES, Key
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import Scale, linear, log
from recstack.report.text import UNITS_NS, badge, figures

MS = UNITS_NS["ms"]
Lines = Mapping[str, Sequence[Found]]


def policies(document: Document) -> Markup:
    """A chart for each model whose policies were searched under more than one limit."""
    models: dict[str, dict[str, list[Found]]] = {}
    for entry in document.of(Found):
        found = entry.data
        if found.policy:
            key = f"{found.model or 'one model'}, p{found.sla.percentile:g}, {found.origin}"
            models.setdefault(key, {}).setdefault(found.policy, []).append(found)
    charts: list[Markup] = []
    for model, lines in models.items():
        ordered = {p: sorted(f, key=lambda x: x.sla.limit_ns) for p, f in lines.items()}
        if len({f.sla.limit_ns for found in ordered.values() for f in found}) > 1:
            charts.append(_chart(model, ordered, len(charts)))
    if not charts:
        return Markup()
    return section(
        "policies",
        "QPS@SLA against the SLA",
        tag("p", "The tighter the limit, the more a policy must leave lanes free. Whiskers span "
            "the rates between which each answer lies."),
        tag("div", *charts, class_="charts"),
    )  # fmt: skip


def _chart(model: str, lines: Lines, index: int) -> Markup:
    every = [found for line in lines.values() for found in line]
    limits: Scale = log([f.sla.limit_ns / MS for f in every])
    rates = linear([f.high_qps or f.low_qps for f in every])
    plot = Plot(Axis(limits, "limit (ms)"), Axis(rates, "QPS@SLA (queries/s)"))
    keys, numbers = [], []
    for i, (policy, line) in enumerate(lines.items()):
        of = f"s{i % SERIES}"
        plot.line([(f.sla.limit_ns / MS, f.low_qps) for f in line], of)
        for f in line:
            x = f.sla.limit_ns / MS
            plot.whisker(x, f.low_qps, f.high_qps or f.low_qps, of)
            plot.mark((x, f.low_qps), "dot", of, f"{policy}, {f.sla}: {figures(f.low_qps, 4)}")
            numbers.append((policy, str(f.sla), figures(f.low_qps, 4), bracket(f), badge(f.origin)))
        keys.append(Key("line", of, policy))
    title = f"QPS@SLA of {model}"
    columns = ["Policy", "SLA", "QPS@SLA (queries/s)", "interval", ""]
    return figure(
        model,
        "The highest rate whose percentile stays within the limit.",
        plot.svg(f"policies-{index}", title, "QPS@SLA at each limit, a line for each policy."),
        table(title, columns, numbers, text=(0, 1, 3, 4)),
        sorted({f.origin for f in every}),
        keys,
    )
