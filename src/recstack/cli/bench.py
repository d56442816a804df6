"""`recstack bench`: the native engine's time per batch, and torch's beside it where asked."""

from __future__ import annotations

from typing import Annotated

import typer

from recstack.cli.models import ModelName, RowsScale, open_model
from recstack.cli.output import Json, Seed, console, print_json, progress, table
from recstack.engine import Engine, EngineConfig
from recstack.engine.compare import Timing, compare
from recstack.errors import ConfigError

SIZES = "1,4,16,64,256,1024"


def bench(
    model: ModelName,
    batch: Annotated[str, typer.Option(help="Rows per batch, comma-separated.")] = SIZES,
    peers: Annotated[str, typer.Option(help="none or torch.")] = "none",
    threads: Annotated[int, typer.Option(min=1, help="Threads of each contender.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds per batch size.")] = 5,
    isa: Annotated[str, typer.Option(help="Instruction set.")] = "auto",
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Time batches, answers compared first, contenders in turn, fresh inputs each time."""
    if peers not in ("none", "torch"):
        raise ConfigError(f"expected --peers none or torch, got {peers!r}")
    try:
        sizes = [int(part) for part in batch.split(",")]
    except ValueError:
        raise ConfigError(f"expected --batch ROWS[,ROWS...], got {batch!r}") from None
    made = open_model(model, rows_scale, seed)
    timings = []
    engine = Engine(made, EngineConfig(isa=isa, threads=threads))
    progress.print(str(engine.memory), style="dim")
    for timing in compare(engine, sizes, torch=peers == "torch", rounds=rounds, seed=seed):
        progress.print(f"  {timing.rows} rows done", style="dim")
        timings.append(timing)
    if json:
        print_json([t.as_dict() for t in timings])
        return
    heads = ("rows", "recstack us", "spread", "torch us", "torch / recstack")
    console.print(table(f"{made.name}, {threads} thread(s) (measured)", heads,
                        [_row(t) for t in timings]))  # fmt: skip


def _row(t: Timing) -> tuple[object, ...]:
    spread = f"{t.recstack_us[0]:.1f}..{t.recstack_us[2]:.1f}"
    if t.torch_us is None:
        return (t.rows, f"{t.recstack_us[1]:.1f}", spread, "-", "-")
    ratio = f"{t.torch_us[1] / t.recstack_us[1]:.2f}"
    return (t.rows, f"{t.recstack_us[1]:.1f}", spread, f"{t.torch_us[1]:.1f}", ratio)
