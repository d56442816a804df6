"""A floor as a table to read."""

from __future__ import annotations

from dataclasses import replace

from rich.markup import escape
from rich.table import Table

from recstack.model.folding import folded
from recstack.profile.floor import Floor, Times

COLUMNS = (
    "ops",
    "kind",
    "bound",
    "MFLOP",
    "weights KB",
    "gather KB",
    "compute us",
    "memory us",
    "floor us",
)


def floor_table(floor: Floor) -> Table:
    """The table for rich. Equal ops that follow each other share a line with their sums; ops that
    cost nothing are left out. Last come the ops' sum, and the floor.
    """
    f = floor
    table = Table(title=_title(f), title_justify="left", box=None)
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if i < 3 else "right", overflow="fold")
    for name, run in folded(f.ops, lambda op: replace(op, name="")):
        op, n = run[0], len(run)
        if op.ns:
            counts = _sizes(n * op.flops, n * op.weight_bytes, n * op.gather_bytes)
            table.add_row(escape(name), op.kind, op.bound, *counts, *_times(op, n))
    table.add_section()
    counts = _sizes(f.flops, f.weight_bytes, f.gather_bytes)
    table.add_row("one op after another", "", "", *counts, "", "", _us(f.serial_ns))
    table.add_row("floor", "", f.bound, *counts, *_times(f))
    return table


def _title(f: Floor) -> str:
    size = f"{f.rows} rows, {f.queries} queries, {f.threads} threads"
    where = f"weights in {f.weights_level}" if f.weight_bytes else "no weights"
    return f"Floor of {escape(f.model)}, {size}, {where} (modelled, from measured peaks)"


def _sizes(flops: int, weight_bytes: int, gather_bytes: int) -> tuple[str, str, str]:
    return f"{flops / 1e6:,.3f}", f"{weight_bytes / 1e3:,.1f}", f"{gather_bytes / 1e3:,.1f}"


def _times(times: Times, count: int = 1) -> tuple[str, str, str]:
    return _us(count * times.compute_ns), _us(count * times.memory_ns), _us(count * times.ns)


def _us(ns: float) -> str:
    return f"{ns / 1e3:,.2f}"
