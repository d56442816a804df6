"""A model's cost as a table to read."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

from rich.console import Console
from rich.table import Table

from recstack.model.cost import Description, OpCost, Total

COLUMNS = (
    "ops",
    "kind",
    "scope",
    "shape",
    "parameters",
    "MFLOP",
    "lookups",
    "gather KB",
    "act. KB",
)


def render(description: Description, width: int = 120) -> str:
    """The table as plain text, at most `width` columns wide.

    >>> from recstack.model import zoo
    >>> from recstack.model.cost import describe
    >>> print(render(describe(zoo.outline("ncf"))).splitlines()[0].split()[0])
    ncf:
    """
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(cost_table(description))
    lines = (line.rstrip() for line in text.getvalue().splitlines())
    return "\n".join(line for line in lines if line) + "\n"


def cost_table(description: Description) -> Table:
    """The table for rich. Ops of one kind, scope, shape and cost that follow each other share a
    line, and its numbers are their sums; per row for item scope, per query for user scope.
    """
    d = description
    table = Table(
        title=f"{d.model}: {d.parameters:,} parameters, {d.weight_bytes / 1e9:.3f} GB, "
        f"{d.tables} tables of {d.table_bytes / 1e9:.3f} GB (modelled)",
        title_justify="left",
        box=None,
    )
    for i, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if i < 4 else "right")
    for name, op in _lines(d.ops):
        shape = " x ".join(str(n) for n in op.shape)
        table.add_row(name, op.kind, op.scope, shape, f"{op.parameters:,}", *_numbers(op))
    table.add_section()
    for title, total in (
        ("per row", d.row),
        ("per query", d.query),
        (f"{d.rows} rows, {d.queries} queries", d.batch),
    ):
        table.add_row(title, "", "", "", "", *_numbers(total))
    return table


def _numbers(cost: OpCost | Total) -> tuple[str, str, str, str]:
    return (
        f"{cost.flops / 1e6:,.3f}",
        f"{cost.lookups:,}",
        f"{cost.gather_bytes / 1e3:,.1f}",
        f"{cost.activation_bytes / 1e3:,.1f}",
    )


def _lines(ops: tuple[OpCost, ...]) -> Iterator[tuple[str, OpCost]]:
    """Title and summed cost of each run of equal ops."""
    for _, group in groupby(ops, lambda op: replace(op, name="")):
        run = list(group)
        first, n = run[0], len(run)
        if n == 1:
            yield first.name, first
            continue
        yield (
            f"{first.name} .. {run[-1].name} ({n})",
            replace(
                first,
                parameters=n * first.parameters,
                weight_bytes=n * first.weight_bytes,
                flops=n * first.flops,
                macs=n * first.macs,
                lookups=n * first.lookups,
                gather_bytes=n * first.gather_bytes,
                activation_bytes=n * first.activation_bytes,
            ),
        )
