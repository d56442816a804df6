"""Arguments and options that several verbs take, each with one name and one meaning.

SlaText, SizesText: with a default of the verb's. SlaOption, SizesOption: without one the plan's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.data import streams
from recstack.loadtest import arrivals, sizes

DEFAULT_SLA, DEFAULT_SIZES = "p95<=10ms", "production"

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder, or a name of `recstack zoo`.")
]
PlanName = Annotated[
    str, typer.Argument(metavar="PLAN", help="plan.toml, a model folder or a name of the zoo.")
]
RowsScale = Annotated[
    float, typer.Option(min=1e-9, help="Scale of a zoo model's table rows, to fit memory.")
]
Isa = Annotated[str, typer.Option(help="Instruction set.")]

SlaText = Annotated[str, typer.Option(help="Tail-latency target, such as 'p95<=10ms'.")]
SlaOption = Annotated[
    str | None,
    typer.Option(help=f"Tail-latency target; without one the plan's, or {DEFAULT_SLA}."),
]
SizesText = Annotated[str, typer.Option(help=f"Query sizes: {sizes.FORMS}.")]
SizesOption = Annotated[
    str | None, typer.Option(help=f"Query sizes; without them the plan's, or {DEFAULT_SIZES}.")
]
ArrivalsText = Annotated[str, typer.Option("--arrivals", help=f"Arrivals: {arrivals.FORMS}.")]
IndicesText = Annotated[str, typer.Option(help=f"Indices of lookups: {streams.FORMS}.")]

BudgetS = Annotated[float, typer.Option(min=1, help="Begin no new candidate after this.")]
ResultFile = Annotated[
    Path | None, typer.Option("--out", help="Result file (JSON lines) to write.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
