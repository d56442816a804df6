"""The one comparison: baseline against tuned, the latency served, the accuracy kept."""

from __future__ import annotations

from collections.abc import Sequence

from recstack.report.compared import Compared, Ratio, Setting
from recstack.report.document import Document, Entry
from recstack.report.markup import Markup, join, tag
from recstack.report.records import Accuracy, Found, Note
from recstack.report.runs import Run, main_run
from recstack.report.text import badge, figures, interval, share, time

Search = Entry[Found]


def headline(document: Document, runs: Sequence[Run], compared: Compared) -> Markup:
    """A sentence, and a tile for each of its numbers."""
    tiles: list[Markup] = []
    pair = baseline_and_best(document.searches)
    sentence = _sentence(document, *pair) if pair else None
    tiles += [_search(document, search) for search in (pair or document.searches[-1:])]
    tiles += [_ratio(setting, r) for setting in compared.settings for r in compared.ratios(setting)]
    if run := main_run(runs):
        tiles.append(_latency(run))
    if accuracy := document.of(Accuracy):
        tiles.append(_accuracy(document, accuracy[-1]))
    notes = [tag("li", _note(document, note)) for note in document.of(Note)]
    return join(
        (
            tag("p", sentence, class_="sentence") if sentence else None,
            tag("div", *tiles, class_="tiles") if tiles else None,
            tag("ul", *notes, class_="notes") if notes else None,
        )
    )


def baseline_and_best(searches: Sequence[Search]) -> tuple[Search, Search] | None:
    """The last baseline and the last tuned deployment; without those labels, the first search and
    the best of those that compare with it.
    """
    by_label = {search.data.label: search for search in searches}
    if "baseline" in by_label and "tuned" in by_label:
        return by_label["baseline"], by_label["tuned"]
    like = [s for s in searches[1:] if _terms(s) == _terms(searches[0])]
    return (searches[0], max(like, key=lambda s: s.data.low_qps)) if like else None


def _terms(search: Search) -> tuple[object, ...]:
    return (search.data.sla, search.data.origin)


def bracket(found: Found) -> str:
    """What is known of the QPS@SLA, in words."""
    if not found.low_qps:
        return "no rate that was tried passed"
    text = interval(found.low_qps, found.high_qps, digits=4)
    if found.high_qps is None:
        return f"{text}: the search's highest rate passed"
    if found.high_outcome == "fail":
        return text
    return f"{text}; the upper end was {found.high_outcome}, so the true rate may be higher"


def _sentence(document: Document, base: Search, best: Search) -> Markup:
    names = [document.name(search, search.data.label) for search in (base, best)]
    one, other = base.data, best.data
    if one.sla != other.sla:
        return join(
            (
                f"{names[0]} and {names[1]} were held to different SLAs, ",
                f"{one.sla} and {other.sla}: their rates do not compare.",
            )
        )
    if not one.low_qps:
        return join([f"Nothing passed {one.sla} as {names[0]}, so there is no ratio."])
    if "invalid" in (one.high_outcome, other.high_outcome):
        return join(
            (
                f"{names[0]} and {names[1]} held {one.sla} up to {figures(one.low_qps)} and ",
                f"{figures(other.low_qps)} queries/s; the load generator bounded the search, so ",
                "their true rates may be higher and do not compare. ",
                badge(one.origin, other.origin),
            )
        )
    ratio = f"{figures(other.low_qps / one.low_qps)} times"
    low = other.low_qps / (one.high_qps or float("inf"))
    high = None if other.high_qps is None else other.high_qps / one.low_qps
    overlap = low <= 1 and (high is None or high >= 1)
    rest = f" the load of {names[0]} within {one.sla} ({interval(low, high)} times)"
    if overlap:
        rest += ", a difference that these intervals do not prove"
    warning = ""
    if base.source.header.machine != best.source.header.machine:
        warning += " The two were made on different machines."
    if one.origin != other.origin:
        warning += f" {names[0]} is {one.origin}, {names[1]} {other.origin}."
    origins = badge(one.origin, other.origin)
    return join([f"{names[1]} sustains ", tag("strong", ratio), f"{rest}. ", origins, warning])


def _search(document: Document, search: Search) -> Markup:
    found = search.data
    name = document.name(search, found.label)
    details = [f"{bracket(found)}.", f"Each probe at {share(found.confidence)} confidence."]
    title = f"{name}: QPS@SLA, {found.sla}"
    return _tile(title, figures(found.low_qps, 4), "queries/s", found.origin, details)


def _ratio(setting: Setting, found: Ratio) -> Markup:
    details = [
        f"{interval(found.low, found.high)}; least {figures(found.least)}; {found.cells} cells."
    ]
    title = f"QPS@SLA of {found.better} / {found.base}, {setting.name}"
    return _tile(title, figures(found.mean), "geometric mean", setting.origin, details)


def _latency(run: Run) -> Markup:
    found = [run.latency(p) for p in (0.50, 0.95, 0.99)]
    values = " / ".join(time(p.value if p else None, "ms") for p in found)
    refused = run.queries - run.counts.get("ok", 0)
    details = [
        f"{run.heading} offered.",
        f"{refused:,} of {run.queries:,} queries not answered, counted as infinite.",
    ]
    if run.reasons:
        details.append("INVALID: " + "; ".join(run.reasons) + ".")
    return _tile("Latency p50 / p95 / p99 (ms)", values, "", run.record.origin, details)


def _accuracy(document: Document, entry: Entry[Accuracy]) -> Markup:
    found = entry.data
    details = [
        f"{found.auc_low:.4f} to {found.auc_high:.4f} on {found.rows:,} rows.",
        f"{found.baseline}: {found.baseline_auc:.4f}.",
    ]
    if found.torch_auc is not None:
        details.append(f"PyTorch, same weights: {found.torch_auc:.4f}.")
    title = f"{document.name(entry, found.model)}: AUC"
    return _tile(title, f"{found.auc:.4f}", "", found.origin, details)


def _tile(title: str, value: str, unit: str, origin: str, details: Sequence[str]) -> Markup:
    return tag(
        "div",
        tag("h3", title),
        tag("p", tag("b", value), f" {unit}", class_="value"),
        *(tag("p", line) for line in details),
        badge(origin),
        class_="tile",
    )


def _note(document: Document, note: Entry[Note]) -> str:
    return document.name(note, note.data.text)
