"""A model's cost as a table to read."""

from __future__ import annotations

from dataclasses import replace

from rich.console import JustifyMethod
from rich.markup import escape
from rich.table import Table

from recstack.model.cost import Description, OpCost, Total
from recstack.model.folding import folded

COLUMNS = (
    "ops",
    "kind",
    "per",
    "shape",
    "parameters",
    "MFLOP",
    "FC MMAC",
    "lookups",
    "gather KB",
    "act. KB",
)
PER = {"item": "row", "user": "query", "const": "plan"}


def cost_table(description: Description) -> Table:
    """The table for rich. Ops of one kind, scope, shape and cost that follow each other share a
    line, and its numbers are their sums; per row for item scope, per query for user scope.
    """
    d = description
    formats = ", ".join(f"{n} {name}" for name, n in d.table_formats.items() if name != "fp32")
    table = Table(
        title=f"{escape(d.model)}: {d.parameters:,} parameters, {d.weight_bytes / 1e9:.3f} GB, "
        f"{d.tables} tables of {d.table_bytes / 1e9:.3f} GB"
        f"{f' ({formats})' if formats else ''} (modelled)",
        title_justify="left",
        box=None,
    )
    for i, column in enumerate(COLUMNS):
        side: JustifyMethod = "left" if i < 4 else "right"
        table.add_column(column, justify=side, overflow="fold", no_wrap=i > 0)
    for name, run in folded(d.ops, lambda op: replace(op, name="")):
        op, n = run[0], len(run)
        shape = " x ".join(str(size) for size in op.shape) or "1"
        first = (escape(name), op.kind, PER[op.scope], shape, f"{n * op.parameters:,}")
        table.add_row(*first, *_numbers(op, n))
    table.add_section()
    for title, total in (
        ("per row", d.row),
        ("per query", d.query),
        (f"{d.rows} rows, {d.queries} queries", d.batch),
    ):
        table.add_row(title, "", "", "", "", *_numbers(total))
    return table


def _numbers(cost: OpCost | Total, times: int = 1) -> tuple[str, ...]:
    return (
        f"{times * cost.flops / 1e6:,.3f}",
        f"{times * cost.macs / 1e6:,.3f}",
        f"{times * cost.lookups:,}",
        f"{times * cost.gather_bytes / 1e3:,.1f}",
        f"{times * cost.activation_bytes / 1e3:,.1f}",
    )
