"""recstack beside its peers: microseconds per batch, by rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from recstack.report.document import Document
from recstack.report.figure import section, table
from recstack.report.markup import Markup, join, tag
from recstack.report.records import Cell, Contender
from recstack.report.text import badge, counted, figures


def peers(document: Document) -> Markup:
    """A table per model and number of threads."""
    groups: dict[str, list[Cell]] = {}
    for entry in sorted(document.of(Cell), key=lambda entry: entry.data.rows):
        d = entry.data
        threads = counted(d.threads, "thread")
        isa = "" if d.isa == "auto" else f", {d.isa}"
        groups.setdefault(f"{d.model}, {threads}{isa}, {d.inputs} indices", []).append(d)
    if not groups:
        return Markup()
    return section(
        "peers",
        "Against peers",
        tag("p", "Microseconds per batch, contenders in turn, answers compared first."),
        *(_table(case, cells) for case, cells in groups.items()),
        *_reasons(groups.values()),
    )


def _table(case: str, cells: Sequence[Cell]) -> Markup:
    names = list(dict.fromkeys(f.contender for cell in cells for f in cell.found))
    rows = []
    for cell in cells:
        times = {f.contender: f.us for f in cell.found}
        rows.append(
            (str(cell.rows), *(figures(times.get(n)) for n in names), figures(_ratio(cell.found)))
        )
    columns = ["Rows", *names, "best peer / recstack"]
    heading = tag("h3", f"{case} (µs) ", badge(*(cell.origin for cell in cells)))
    return join((heading, table(case, columns, rows)))


def _ratio(found: Sequence[Contender]) -> float | None:
    own, *others = found
    best = min((f.us for f in others if f.us is not None), default=None)
    return None if best is None or own.us is None else best / own.us


def _reasons(groups: Iterable[Sequence[Cell]]) -> list[Markup]:
    """One line for every reason why a contender has no time."""
    found = [f for cells in groups for cell in cells for f in cell.found if f.status != "ok"]
    lines = dict.fromkeys(f"{f.contender}: {f.status}, {f.reason}" for f in found)
    return [tag("p", line) for line in lines]
