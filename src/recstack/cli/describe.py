"""`recstack describe`: what a model holds and costs, and the least time that it needs."""

from __future__ import annotations

from typing import Annotated

import typer

from recstack.cli.models import open_model
from recstack.cli.options import Json, ModelName, RowsScale
from recstack.cli.output import console, print_json, print_whole
from recstack.engine.memory import WHERE
from recstack.engine.tables import find_place
from recstack.errors import ConfigError, DataError
from recstack.machine.store import find_peaks
from recstack.model import Model, zoo
from recstack.model.cost import describe as describe_model
from recstack.model.cost_table import cost_table
from recstack.profile.floor import Floor
from recstack.profile.floor import floor as least_time
from recstack.profile.floor_table import floor_table


def describe(
    model: ModelName,
    rows: Annotated[int, typer.Option(min=0, help="Rows of the batch in the totals.")] = 1,
    queries: Annotated[int, typer.Option(min=0, help="Queries of the batch.")] = 1,
    floor: Annotated[
        bool, typer.Option("--floor", help="Also the least time of the batch on this machine.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the floor.")] = 1,
    isa: Annotated[str, typer.Option(help="Instruction set of the floor.")] = "auto",
    rows_scale: RowsScale = 1.0,
    json: Json = False,
) -> None:
    """Print per op its parameters, FLOPs and bytes, per row or per query, and the totals."""
    made = _outline(model, rows_scale)
    cost = describe_model(made, rows=rows, queries=queries)
    least = _floor(made, rows, queries, threads, isa) if floor else None
    tables = find_place(made, "auto")
    if json:
        place = {"table_memory": tables.kind, "table_reason": tables.reason}
        found = {**cost.as_dict(), "score_columns": made.score_columns, **place}
        print_json({**found, "floor": least.as_dict()} if least else found)
        return
    print_whole(cost_table(cost))
    if made.output_width > 1:
        columns = (f"{name} x {n}" if n > 1 else name for name, n in made.score_columns)
        console.print("scores of a row:", ", ".join(columns), markup=False)
    if cost.parameters < sum(op.parameters for op in cost.ops):
        console.print("a weight that several ops read counts in the parameters of each of them")
    if tables.kind != "shared":
        where = f"{WHERE[tables.kind]} ({tables.reason})"
        console.print(f"an engine here would have the tables {where}", soft_wrap=True)
    if least:
        console.print()
        print_whole(floor_table(least))


def _outline(name: str, rows_scale: float) -> Model:
    """The model without memory for a preset's weights."""
    preset, _, variant = name.partition(":")
    if preset in zoo.names():
        return zoo.outline(preset, rows_scale=rows_scale, variant=variant or None)
    return open_model(name)


def _floor(model: Model, rows: int, queries: int, threads: int, isa: str) -> Floor:
    try:
        peaks = find_peaks()
    except DataError as error:
        raise ConfigError(f"{error}; `recstack doctor --peaks` measures and stores them") from error
    return least_time(model, rows, threads, peaks, queries, None if isa == "auto" else isa)
