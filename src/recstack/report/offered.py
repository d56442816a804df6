"""What policies make of an offered load: goodput and tail latency, below and beyond QPS@SLA."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from recstack.report.compared import Compared, Setting, kept
from recstack.report.figure import figure, section, table
from recstack.report.markup import Markup, join, tag
from recstack.report.policies import by_setting, colour
from recstack.report.records import AtLoad
from recstack.report.records.schedule import Quantile
from recstack.report.svg.marks import Key
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import linear, log
from recstack.report.text import MS, figures, interval, share


def offered(compared: Compared) -> Markup:
    """Goodput, then latency, against the offered load; each model at its middle SLA."""
    limit, infinite = Key("limit", "", "limit"), Key("up", "plain", "infinite: too few answered")
    goodput = by_setting(
        compared, "goodput", lambda *of: _goodput(compared, *of), [Key("line", "plain", "offered")]
    )
    tail = by_setting(compared, "tail", lambda *of: _latency(compared, *of), [limit, infinite])
    return join(
        (
            section(
                "goodput", "Policies: goodput against offered load",
                tag("p", "Queries answered within the limit, per second. The thin line is what is "
                    "offered; each policy is loaded up to twice its own QPS@SLA."),
                goodput,
            ) if goodput else None,
            section(
                "tail", "Policies: latency against offered load",
                tag("p", "From the scheduled arrival; a query that was refused counts as infinite. "
                    "Whiskers are 95% intervals from order statistics, which take queries as "
                    "independent."),
                tail,
            ) if tail else None,
        )
    )  # fmt: skip


def _curves(compared: Compared, setting: Setting, model: str) -> dict[str, list[AtLoad]]:
    """By policy, under the middle SLA."""
    sla = compared.middle(setting, model)
    curves = {policy: compared.at(setting, model, sla, policy) for policy in compared.policies}
    return {policy: curve for policy, curve in curves.items() if curve}


def _goodput(compared: Compared, setting: Setting, model: str, ident: str) -> Markup | None:
    curves, sla = _curves(compared, setting, model), compared.middle(setting, model)
    if not curves:
        return None
    every = [x for curve in curves.values() for x in curve]
    rates = linear(x.rate_qps for x in every)
    goods = linear(x.goodput_qps for x in every)
    plot = Plot(Axis(rates, "offered load (queries/s)"), Axis(goods, "goodput (queries/s)"), 200)
    end = min(rates.high, goods.high)
    plot.line([(0.0, 0.0), (end, end)], "plain thin")
    numbers: list[Sequence[str]] = []
    for policy, curve in curves.items():
        of = colour(compared, policy)
        plot.line([(x.rate_qps, x.goodput_qps) for x in curve], of)
        shares = kept(curve)
        for x in curve:
            words = f"{policy}: {figures(x.goodput_qps, 4)} of {figures(x.rate_qps, 4)} queries/s"
            plot.mark((x.rate_qps, x.goodput_qps), "dot", of, words)
            numbers.append(_goodput_row(policy, x, shares[x.of_qps_at_sla]))
    title = f"Goodput of {model}, {setting.name}, {sla}"
    columns = ["Policy", "of its QPS@SLA", "offered (queries/s)", "goodput (queries/s)"]
    columns += [
        "of the best so far",
        "goodput (rows/s)",
        "not answered",
        "longest to a refusal (ms)",
    ]
    return figure(
        f"{model}, {sla}",
        "",
        plot.svg(ident, title, "Goodput at each offered load, a line for each policy."),
        table(title, columns, numbers),
        [setting.origin],
    )


def _goodput_row(policy: str, load: AtLoad, kept_share: float) -> Sequence[str]:
    rates = [figures(qps, 4) for qps in (load.rate_qps, load.goodput_qps)]
    rows = figures(load.goodput_rows, 4)
    refused = share(load.refused), figures(load.longest_refusal_ms)
    return (policy, f"{load.of_qps_at_sla:g}", *rates, share(kept_share), rows, *refused)


def _latency(compared: Compared, setting: Setting, model: str, ident: str) -> Markup | None:
    curves, sla = _curves(compared, setting, model), compared.middle(setting, model)
    name = f"p{sla.percentile:g}"
    found = {p: [x for x in curve if name in x.latency_ns] for p, curve in curves.items()}
    every = [x for curve in found.values() for x in curve]
    if not every:
        return None
    times = [q.value / MS for x in every if (q := x.latency_ns[name]).value]
    plot = Plot(
        Axis(linear(x.rate_qps for x in every), "offered load (queries/s)"),
        Axis(log([*times, sla.limit_ns / MS]), f"{name} (ms)"), 200,
    )  # fmt: skip
    numbers: list[Sequence[str]] = []
    for policy, curve in found.items():
        _curve(plot, policy, curve, name, colour(compared, policy))
        numbers += [
            (policy, figures(x.rate_qps, 4), *(_cell(x.latency_ns.get(p)) for p in _listed(name)))
            for x in curve
        ]
    plot.across(sla.limit_ns / MS)
    title = f"Latency of {model}, {setting.name}, {sla}"
    columns = ["Policy", "offered (queries/s)"]
    columns += [f"{p} (ms), 95% interval" for p in _listed(name)]
    return figure(
        f"{model}, {sla}",
        "",
        plot.svg(ident, title, f"{name} at each offered load, a line for each policy."),
        table(title, columns, numbers),
        [setting.origin],
    )


def _curve(plot: Plot, policy: str, curve: list[AtLoad], name: str, of: str) -> None:
    """A line where the percentile is finite."""
    for finite, part in groupby(curve, key=lambda x: x.latency_ns[name].value is not None):
        points = [(x.rate_qps, x.latency_ns[name]) for x in part]
        if finite:
            plot.line([(rate, (q.value or 0.0) / MS) for rate, q in points], of)
        for rate, q in points:
            y = (q.value or float("inf")) / MS
            if finite and q.low is not None and q.high is not None:
                plot.whisker(rate, q.low / MS, q.high / MS, of)
            words = f"{policy}: {name} at {figures(rate, 4)} queries/s: {_cell(q)} ms"
            plot.mark((rate, y), "dot" if finite else "up", of, words)


def _listed(name: str) -> list[str]:
    return list(dict.fromkeys(("p50", name, "p99")))


def _cell(found: Quantile | None) -> str:
    if found is None:
        return "–"
    value, low, high = (
        None if ns is None else ns / MS for ns in (found.value, found.low, found.high)
    )
    return "∞" if value is None else f"{figures(value)} ({interval(low, high)})"
