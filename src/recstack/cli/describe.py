"""`recstack describe`: what a model holds and costs."""

from __future__ import annotations

from typing import Annotated

import typer

from recstack.cli.models import ModelName, RowsScale, open_model
from recstack.cli.output import Json, console, print_json, table
from recstack.engine.memory import WHERE
from recstack.engine.tables import find_place
from recstack.model import zoo
from recstack.model.cost import OpCost, Total
from recstack.model.cost import describe as describe_model


def describe(
    model: ModelName,
    rows: Annotated[int, typer.Option(min=0, help="Rows of the batch in the totals.")] = 1,
    queries: Annotated[int, typer.Option(min=0, help="Queries of the batch.")] = 1,
    rows_scale: RowsScale = 1.0,
    json: Json = False,
) -> None:
    """Print per op its parameters, FLOPs and bytes, per row or per query, and the totals."""
    preset, _, variant = model.partition(":")
    if preset in zoo.names():
        made = zoo.outline(preset, rows_scale=rows_scale, variant=variant or None)
    else:
        made = open_model(model)
    cost = describe_model(made, rows=rows, queries=queries)
    tables = find_place(made, "auto")
    if json:
        place = {"table_memory": tables.kind, "table_reason": tables.reason}
        print_json({**cost.as_dict(), **place})
        return
    columns = ("op", "kind", "per", "shape", "params", "weights B", "FLOP", "lookups", "gather B",
               "moved B")  # fmt: skip
    console.print(table(f"{made.name} (modelled)", columns, [_row(op) for op in cost.ops]))
    totals = [_total("one row", cost.row), _total("one query", cost.query),
              _total(f"batch of {rows} rows, {queries} queries", cost.batch)]  # fmt: skip
    console.print()
    heads = ("total", "FLOP", "FC MAC", "lookups", "gather B", "moved B")
    console.print(table("", heads, totals))
    console.print(
        f"\n{cost.parameters:,} parameters, {cost.weight_bytes / 1e6:,.1f} MB of weights, "
        f"of which {cost.tables} tables with {cost.table_bytes / 1e6:,.1f} MB"
    )
    if tables.kind != "shared":
        console.print(
            f"an engine here would have the tables {WHERE[tables.kind]} ({tables.reason})",
            soft_wrap=True,
        )


def _row(op: OpCost) -> tuple[object, ...]:
    per = {"item": "row", "user": "query", "const": "plan"}[op.scope]
    counts = (op.parameters, op.weight_bytes, op.flops, op.lookups, op.gather_bytes,
              op.activation_bytes)  # fmt: skip
    shape = "x".join(map(str, op.shape)) or "1"
    return (op.name, op.kind, per, shape, *(f"{n:,}" for n in counts))


def _total(name: str, total: Total) -> tuple[object, ...]:
    counts = (total.flops, total.macs, total.lookups, total.gather_bytes, total.activation_bytes)
    return (name, *(f"{n:,}" for n in counts))
