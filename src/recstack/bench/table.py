"""Cells as a Markdown table, with geometric means by group and the worst cell."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from recstack.bench.records import Cell

# Memory-bound, attention or recurrence; mixed; compute-bound.
GROUPS = (
    ("all", ()),
    ("RM1, RM2, DIN, DIEN", ("rm1", "rm2", "din", "dien")),
    ("NCF", ("ncf",)),
    ("RM3, WnD, MT-WnD", ("rm3", "wnd", "mt-wnd")),
)

SPREAD = "p99 / median, of fixed work"


def render(cells: Sequence[Cell]) -> str:
    """Markdown: a row per cell, then means of best peer / recstack; all times measured, in us."""
    names = list(dict.fromkeys(f.contender for cell in cells for f in cell.found[1:]))
    heads = ["model", "rows", "threads", "isa", "inputs", "recstack", "quartiles", SPREAD, *names,
             "best peer / recstack", "floor", "recstack / floor"]  # fmt: skip
    lines = [_line(heads), _line(["---"] * len(heads))]
    lines += [_line(row(cell, names)) for cell in cells]
    why = reasons(cells)
    return "\n".join([*lines, "", *means(cells), *([""] if why else []), *why, ""])


def columns(cells: Sequence[Cell], names: Sequence[str]) -> list[list[str]]:
    """The same turned round, without the questions: a row per contender, a column per cell."""
    heads = ["recstack", "  quartiles", f"  {SPREAD}", *names, "best peer / recstack", "floor",
             "recstack / floor"]  # fmt: skip
    answers = [row(cell, names)[5:] for cell in cells]
    return [[head, *(a[i] for a in answers)] for i, head in enumerate(heads)]


def reasons(cells: Sequence[Cell]) -> list[str]:
    """A line for every contender that did not run somewhere, and why."""
    found = {
        f"- {cell.model}: {f.name} {f.status}: {f.reason}"
        for cell in cells
        for f in cell.found
        if f.status != "ok"
    }
    return sorted(found)


def row(cell: Cell, names: Iterable[str]) -> list[str]:
    """The fields of one cell; a peer that did not run shows its status."""
    found = {f.contender: f for f in cell.found}
    own = cell.own
    low, high = own.quartiles_us or (math.nan, math.nan)
    peers = [
        "-" if (f := found.get(name)) is None else f.status if f.us is None else figure(f.us)
        for name in names
    ]
    best = cell.best_peer
    pair = "" if best is None else best.contender
    if cell.best_own is not own:
        pair += f" / {cell.best_own.contender}"
    ratio = "-" if cell.ratio is None else f"{cell.ratio:.2f} ({pair})"
    floor = "-" if cell.floor_us is None else figure(cell.floor_us)
    over = "-" if not cell.floor_us or own.us is None else f"{own.us / cell.floor_us:.2f}"
    return [cell.model, str(cell.rows), str(cell.threads), cell.isa, cell.inputs.split("/")[-1],
            figure(own.us), f"{figure(low)}..{figure(high)}", _spread(cell), *peers, ratio,
            floor, over]  # fmt: skip


def means(cells: Sequence[Cell]) -> list[str]:
    """Geometric means of best peer / recstack by group of models, and the worst cell of all."""
    rated = [(cell, cell.ratio) for cell in cells if cell.ratio is not None]
    lines = []
    for title, models in GROUPS:
        logs = [math.log(r) for c, r in rated if not models or c.model.split("-deep")[0] in models]
        if logs:
            mean = math.exp(sum(logs) / len(logs))
            lines.append(f"- geometric mean, {title}: {mean:.2f} ({len(logs)} cells)")
    spreads = [(c.spread, c.steady_spread) for c in cells if c.spread and c.steady_spread]
    if spreads:
        own, steady = (statistics.median(s) for s in zip(*spreads, strict=True))
        lines.append(f"- p99 / median, median of cells: {own:.2f}, of fixed work {steady:.2f}")
    if rated:
        cell, ratio = min(rated, key=lambda pair: pair[1])
        where = f"{cell.model}, {cell.rows} rows, {cell.threads} thread(s), {cell.isa}"
        lines.append(f"- worst cell: {ratio:.2f} ({where})")
    return lines


def _spread(cell: Cell) -> str:
    both = (cell.spread, cell.steady_spread)
    return ", ".join("-" if x is None else f"{x:.2f}" for x in both)


def figure(us: float | None) -> str:
    """Microseconds with three or four digits."""
    return "-" if us is None else f"{us:.1f}" if us < 1000 else f"{us:.0f}"


def _line(fields: Iterable[str]) -> str:
    return "| " + " | ".join(fields) + " |"
