"""Runs under MLPerf's LoadGen: the verdict, every condition, its percentiles beside ours."""

from __future__ import annotations

from recstack.report.document import Document, Entry
from recstack.report.figure import section, table
from recstack.report.markup import Markup, tag
from recstack.report.records import LoadGen
from recstack.report.text import badge, time


def loadgen(document: Document) -> Markup:
    """A block for each run."""
    runs = [_run(document, entry) for entry in document.of(LoadGen)]
    return section("loadgen", "Under MLPerf's LoadGen, unofficial", *runs) if runs else Markup()


def _run(document: Document, entry: Entry[LoadGen]) -> Markup:
    data = entry.data
    heading = f"{document.name(entry, data.model)}, {data.scenario}, {data.mode}"
    conditions = [(c.name, c.expected, c.found, c.outcome) for c in data.conditions]
    tails = [
        (p, time(ns, "ms"), time(data.own_percentiles_ns[p], "ms"))
        for p, ns in data.loadgen_percentiles_ns.items()
        if p in data.own_percentiles_ns
    ]
    heads = ["Condition", "expected", "found", "outcome"]
    return tag(
        "div",
        tag("h3", f"{heading} ", badge(data.origin)),
        tag("p", f"{data.verdict}. LoadGen {data.loadgen_version}."),
        table(f"Conditions of {heading}", heads, conditions, text=(0, 1, 2, 3)),
        table(f"Latency of {heading}", ["Percentile", "LoadGen (ms)", "recstack (ms)"], tails)
        if tails
        else None,
    )
