"""QPS@SLA: what each deployment sustains, how they differ, and the probes that say so."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from recstack.report.document import Document, Entry
from recstack.report.figure import figure, section, table
from recstack.report.headline import bracket
from recstack.report.markup import Markup, join, tag
from recstack.report.records import Found, Probe
from recstack.report.svg.marks import SERIES, Key, Shape
from recstack.report.svg.plot import Axis, Plot
from recstack.report.svg.scale import Scale, log
from recstack.report.text import badge, figures, share, whole

SHAPES: dict[str, Shape] = {
    "pass": "dot",
    "fail": "cross",
    "undecided": "ring",
    "invalid": "diamond",
}
FLOOR = 0.001
Searches = Sequence[Entry[Found]]


def throughput(document: Document) -> Markup:
    """The deployments, then charts of their probes: of one SLA, with a colour for each."""
    searches = document.searches
    if not searches:
        return Markup()
    groups = []
    for sla in dict.fromkeys(search.data.sla for search in searches):
        same = [search for search in searches if search.data.sla == sla]
        groups += [same[i : i + SERIES] for i in range(0, len(same), SERIES)]
    rates = log([probe.rate_qps for search in searches for probe in search.data.probes])
    settings, wide = tag("div", _settings(document, searches)), len(searches) > 3
    charts = [_probes(document, group, rates, i) for i, group in enumerate(groups)]
    return section(
        "throughput",
        "QPS@SLA",
        tag("p", "The highest arrival rate whose percentile stays within its limit."),
        _results(document, searches),
        settings if wide else Markup(),
        tag("div", None if wide else settings, *charts, class_="charts"),
    )


def _results(document: Document, searches: Searches) -> Markup:
    columns = ["Deployment", "SLA", "QPS@SLA (queries/s)", "interval", "confidence", "probes", ""]
    rows = [
        (
            document.name(search, search.data.label),
            str(search.data.sla),
            figures(search.data.low_qps, 4),
            bracket(search.data),
            share(search.data.confidence),
            whole(len(search.data.probes)),
            badge(search.data.origin),
        )
        for search in searches
    ]
    return table("QPS@SLA by deployment", columns, rows, text=(0, 1, 3, 6))


def _settings(document: Document, searches: Searches) -> Markup:
    """Settings that are not the same everywhere; of a single deployment, all."""
    flat = [_flatten(search.data.deployment) for search in searches]
    keys = dict.fromkeys(key for one in flat for key in one)
    if len(flat) > 1:
        keys = {k: None for k in keys if len({one.get(k, "–") for one in flat}) > 1}
    if not keys:
        return tag("p", "No deployment setting differs." if len(flat) > 1 else "No settings given.")
    caption = "Settings that differ" if len(flat) > 1 else "Settings"
    columns = ["Setting", *(document.name(s, s.data.label) for s in searches)]
    rows = [(key, *(one.get(key, "–") for one in flat)) for key in keys]
    return join((tag("h3", caption), table(caption, columns, rows, text=range(len(columns)))))


def _flatten(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, inside in value.items():
        if isinstance(inside, dict) and inside:
            flat |= _flatten(inside, f"{prefix}{key}.")
        else:
            text = inside if isinstance(inside, str) else json.dumps(inside, ensure_ascii=False)
            flat[f"{prefix}{key}"] = text
    return flat


def _probes(document: Document, searches: Searches, rates: Scale, index: int) -> Markup:
    sla = searches[0].data.sla
    probes = [probe for search in searches for probe in search.data.probes]
    ticks = ((FLOOR, f"≤{share(FLOOR)}"), (0.01, "1%"), (0.1, "10%"), (1.0, "100%"))
    shares = Scale(FLOOR, 1.0, ticks, math.log10)
    plot = Plot(Axis(rates, "arrival rate (queries/s)"), Axis(shares, "queries over the limit"))
    allowed = 1.0 - sla.share
    plot.across(allowed)
    keys = [Key("limit", "", f"allowed by {sla}: {share(allowed)}")]
    numbers: list[Sequence[str]] = []
    for i, search in enumerate(searches):
        name, of = document.name(search, search.data.label), f"s{i}"
        keys.append(Key("bar", of, name))
        for probe in search.data.probes:
            over = probe.share_over
            # An invalid probe may have no queries at all: it lies on the floor.
            point = (probe.rate_qps, over or 0.0)
            plot.mark(point, SHAPES[probe.outcome], of, f"{name}: {_words(probe)}")
            numbers.append((name, *_cells(probe)))
    outcomes = dict.fromkeys(probe.outcome for probe in probes)
    keys += [Key(SHAPES[o], "plain", o) for o in SHAPES if o in outcomes]
    names = ", ".join(document.name(search, search.data.label) for search in searches)
    title = f"Probes for {sla}: {names}"
    description = f"Share of queries over the limit of {sla} at each rate that the searches tried."
    columns = ["Deployment", "rate (queries/s)", "outcome", "over", "queries", "share", "runs"]
    columns += ["design effect", "reason"]
    return figure(
        title,
        "Each mark is one rate; the answer is the highest that passed. Undecided counts as failed. "
        "The design effect is how many neighbouring queries count as one.",
        plot.svg(f"probes-{index}", title, description),
        table(title, columns, numbers, text=(0, 2, 8)),
        [search.data.origin for search in searches],
        keys,
    )


def _words(probe: Probe) -> str:
    return f"{figures(probe.rate_qps, 4)} queries/s, {probe.outcome}, {_share(probe)} over"


def _cells(probe: Probe) -> tuple[str, ...]:
    return (
        figures(probe.rate_qps, 4),
        probe.outcome,
        whole(probe.over),
        whole(probe.queries),
        _share(probe),
        whole(probe.runs),
        figures(probe.effect),
        probe.reason,
    )


def _share(probe: Probe) -> str:
    return "–" if probe.share_over is None else share(probe.share_over)
