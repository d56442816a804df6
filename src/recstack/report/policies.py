"""Policies compared: their ratios, and QPS@SLA against the SLA, a line for each policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recstack.report.compared import Compared, Setting, setting_of
from recstack.report.document import Document
from recstack.report.figure import figure, section, table
from recstack.report.headline import bracket
from recstack.report.markup import Markup, join, tag
from recstack.report.records import AtLoad, BatchCosts, Found, Large
from recstack.report.svg.marks import SERIES, Key, legend
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import at_values, linear
from recstack.report.text import MS, badge, figures, interval, share, whole

COST_ROWS = (1, 16, 256, 1024)


def compared_in(document: Document) -> Compared:
    """The searches of policies that a document has."""
    return Compared(
        [entry.data for entry in document.of(Found)],
        [entry.data for entry in document.of(AtLoad)],
        [entry.data for entry in document.of(Large)],
        [entry.data for entry in document.of(BatchCosts)],
    )


def colour(compared: Compared, policy: str) -> str:
    """The same in every chart."""
    return f"s{compared.policies.index(policy) % SERIES}"


def policies(compared: Compared) -> Markup:
    """The ratios over all cells, then a chart for each model in each setting."""
    if not compared:
        return Markup()
    return section(
        "policies",
        "Policies: QPS@SLA against the SLA",
        tag("p", "The highest arrival rate whose percentile stays within the limit. The tighter "
            "the limit, the more a policy must leave lanes free. Whiskers span the rates between "
            "which each answer lies."),
        _ratios(compared),
        by_setting(compared, "policies", lambda *of: _chart(compared, *of)),
        _large(compared),
        _costs(compared),
    )  # fmt: skip


def by_setting(
    compared: Compared, ident: str, chart: Callable[[Setting, str, str], Markup | None],
    keys: Sequence[Key] = (),
) -> Markup | None:  # fmt: skip
    """A legend of the policies and `keys`, then a chart for each model, setting by setting.

    chart: of a setting and a model, with an identity of its own, or None.
    """
    parts: list[Markup] = []
    for i, setting in enumerate(compared.settings):
        models = enumerate(compared.models(setting))
        charts = [chart(setting, model, f"{ident}-{i}-{j}") for j, model in models]
        if any(charts):
            parts.append(tag("h3", setting.name, " ", badge(setting.origin), class_="setting"))
            parts.append(tag("div", *charts, class_="charts small"))
    if not parts:
        return None
    named = [Key("line", colour(compared, policy), policy) for policy in compared.policies]
    return join((legend([*named, *keys]), *parts))


def _ratios(compared: Compared) -> Markup | None:
    rows = [
        (
            f"{ratio.better} / {ratio.base}", setting.name, figures(ratio.mean),
            interval(ratio.low, ratio.high), figures(ratio.least), whole(ratio.cells),
            badge(setting.origin),
        )
        for setting in compared.settings for ratio in compared.ratios(setting)
    ]  # fmt: skip
    if not rows:
        return None
    columns = ["QPS@SLA of", "lanes", "geometric mean", "95% interval", "least", "cells", ""]
    caption = "Ratios of QPS@SLA"
    return join(
        (
            table(caption, columns, rows, text=(0, 1, 6)),
            tag("p", "A cell is one model under one SLA; intervals are bootstrapped over cells."),
        )
    )


def _large(compared: Compared) -> Markup | None:
    if not compared.large:
        return None
    found = {(setting_of(x), x.model): x for x in compared.large}
    settings = sorted({setting for setting, _ in found})
    title = "Small queries beside a large one"
    rows = [
        (model, *(_beside(found.get((setting, model))) for setting in settings))
        for model in dict.fromkeys(model for _, model in found)
    ]
    columns = ["Model", *(f"{setting.name}, {setting.origin}" for setting in settings)]
    return join(
        (
            tag("h3", title, " ", badge(*(s.origin for s in settings)), class_="setting"),
            tag("p", "p95 of queries of 10 rows under slack, with one of 1,000 rows among each "
                "thousand, over their p95 alone."),
            table(title, columns, rows),
        )
    )  # fmt: skip


def _beside(found: Large | None) -> str:
    if not found:
        return "–"
    times = f"{figures(found.among_p95_ms)} / {figures(found.alone_p95_ms)} ms"
    return f"{figures(found.ratio)} ({times})"


def _chart(compared: Compared, setting: Setting, model: str, ident: str) -> Markup:
    lines = _lines(compared, setting, model)
    every = [found for line in lines.values() for found in line]
    limits = at_values([f.sla.limit_ns / MS for f in every])
    rates = linear([f.high_qps or f.low_qps for f in every])
    plot = Plot(Axis(limits, "limit (ms)"), Axis(rates, "QPS@SLA (queries/s)"), 200)
    numbers = []
    for policy, line in lines.items():
        of = colour(compared, policy)
        plot.line([(f.sla.limit_ns / MS, f.low_qps) for f in line], of)
        for f in line:
            x = f.sla.limit_ns / MS
            plot.whisker(x, f.low_qps, f.high_qps or f.low_qps, of)
            plot.mark((x, f.low_qps), "dot", of, f"{policy}, {f.sla}: {figures(f.low_qps, 4)}")
            chunk = "–" if f.chunk_rows is None or policy == "slack" else whole(f.chunk_rows)
            rate = figures(f.low_qps, 4)
            numbers.append((policy, str(f.sla), rate, bracket(f), share(f.confidence), chunk))
    title = f"QPS@SLA of {model}, {setting.name}"
    columns = ["Policy", "SLA", "QPS@SLA (queries/s)", "interval", "confidence", "chunk (rows)"]
    return figure(
        model,
        "",
        plot.svg(ident, title, "QPS@SLA at each limit, a line for each policy."),
        table(title, columns, numbers, text=(0, 1, 3)),
        [setting.origin],
    )


def _lines(compared: Compared, setting: Setting, model: str) -> dict[str, list[Found]]:
    """By policy, the searches of a model, the tightest SLA first."""
    slas = compared.slas(setting, model)
    lines = {
        policy: [f for sla in slas if (f := compared.find(setting, model, sla, policy))]
        for policy in compared.policies
    }
    return {policy: line for policy, line in lines.items() if line}


def _costs(compared: Compared) -> Markup | None:
    """What the searches knew of batches."""
    if not compared.costs:
        return None
    rows: list[Sequence[str]] = []
    for entry in compared.costs:
        name = entry.model if entry.engine in ("", "recstack") else f"{entry.model}, {entry.engine}"
        for busy, times in zip(entry.costs.busy, entry.costs.service_us, strict=True):
            shown = [times[r.bit_length() - 1] if r <= 1 << (len(times) - 1) else None
                     for r in COST_ROWS]  # fmt: skip
            rows.append((name, str(busy), *(figures(us) for us in shown), badge(entry.origin)))
    title = "What batches take (µs)"
    columns = ["Model", "lanes that run", *(f"{rows:,} rows" for rows in COST_ROWS), ""]
    numbers = table(title, columns, rows, text=(0, 6))
    return tag("details", tag("summary", title), numbers)
