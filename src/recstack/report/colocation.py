"""Models side by side: what each loses, and where they are best put."""

from __future__ import annotations

from recstack.report.document import Document, Entry
from recstack.report.figure import section, table
from recstack.report.markup import Markup, join, tag
from recstack.report.records import Colocation, Placed
from recstack.report.text import badge, figures


def colocation(document: Document) -> Markup:
    """The slowdown matrix and the trend, then the placements and what they served."""
    parts = [_matrix(document, entry) for entry in document.of(Colocation)]
    parts += [_placements(document, entry) for entry in document.of(Placed)]
    if not parts:
        return Markup()
    return section("colocation", "Models side by side", *parts)


def _matrix(document: Document, entry: Entry[Colocation]) -> Markup:
    found = entry.data
    title = document.name(entry, f"Slowdown beside another model, {found.rows} rows per batch")
    columns = ["Victim", "alone (µs)", "table bytes per FLOP"]
    columns += [f"beside {model}" for model in found.models]
    rows = [
        (
            model, figures(found.alone_us[i]), figures(found.bytes_per_flop[i]),
            *(f"{s:.2f} ({a:.2f} to {b:.2f})"
              for s, a, b in zip(found.slowdown[i], found.low[i], found.high[i], strict=True)),
        )
        for i, model in enumerate(found.models)
    ]  # fmt: skip
    return join(
        (
            tag("h3", title, " ", badge(found.origin)),
            table(title, columns, rows),
            tag("p", found.trend[:1].upper() + found.trend[1:], "."),
        )
    )


def _placements(document: Document, entry: Entry[Placed]) -> Markup:
    found = entry.data
    title = document.name(entry, "Placement")
    columns = ["Placement", "model", "lanes", "SLA", "alone on a lane (queries/s)"]
    columns += ["modelled (queries/s)", "held, all at once (queries/s)", "percentile (ms)"]
    rows = []
    for one in found.placements:
        for model, qps in one.modelled_qps.items():
            lanes = ", ".join(str(i) for i, models in enumerate(one.lanes) if model in models)
            tail = one.tail_ms[model]
            rows.append(
                (
                    one.label, model, lanes, str(found.slas[model]),
                    figures(found.alone_qps[model], 4), figures(qps, 4),
                    figures(one.qps[model], 4), "–" if tail is None else figures(tail),
                )
            )  # fmt: skip
    best = ", ".join(f"{one.label} {one.scale:.2f} times" for one in found.placements)
    return join(
        (
            tag("h3", title, " ", badge(found.origin)),
            table(title, columns, rows, text=(0, 1, 2, 3)),
            tag("p", f"Of the demand, served within every SLA: {best}."),
        )
    )
