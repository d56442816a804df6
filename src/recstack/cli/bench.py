"""`recstack bench`: the native engine's time per batch, and its peers' beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.bench import BenchConfig, Cell, Store
from recstack.bench import bench as run_bench
from recstack.bench import table as bench_table
from recstack.bench.colocate import ColocateConfig
from recstack.bench.contenders import LOW_OWN, PLAN, chosen, is_low
from recstack.bench.isa import hold_process
from recstack.cli.colocate import colocate as run_colocate
from recstack.cli.models import open_model
from recstack.cli.options import Json, ModelName, RowsScale, Seed
from recstack.cli.output import console, print_json, progress, table
from recstack.data import streams
from recstack.errors import ConfigError

SIZES = "1,4,16,64,256,1024"
CACHE = Path("~/.cache/recstack/bench")
MOST_ROWS = 1 << 20
MOST_THREADS = 1024  # as EngineConfig.threads


def bench(
    model: ModelName = "",
    batch: Annotated[str, typer.Option(help="Rows per batch, comma-separated.")] = SIZES,
    peers: Annotated[
        str,
        typer.Option(help="none, all (fp32), low (precision), or names: torch,aoti,openvino_bf16."),
    ] = "none",
    threads: Annotated[str, typer.Option(help="Threads of each contender, comma-separated.")] = "1",
    low: Annotated[
        bool, typer.Option("--low", help="recstack at low precision too; so do peers of that sort.")
    ] = False,
    plan: Annotated[
        Path | None, typer.Option(help="A precision plan (TOML) that recstack runs as well.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Alternating rounds per batch size.")] = 9,
    round_ms: Annotated[int, typer.Option(min=1, help="Length of one contender's turn.")] = 100,
    isa: Annotated[str, typer.Option(help="Instruction set; peers know auto and avx2.")] = "auto",
    inputs: Annotated[
        str, typer.Option(help=f"{streams.FORMS}, or the file's path alone.")
    ] = "uniform",
    out: Annotated[
        Path | None, typer.Option(help="Folder of result files; cells found there are kept.")
    ] = None,
    cache: Annotated[Path, typer.Option(help="Folder of compiled peers.")] = CACHE,
    compiling: Annotated[
        bool, typer.Option(help="Compile peers that the cache lacks; takes minutes each.")
    ] = True,
    colocate: Annotated[
        str, typer.Option(help="Instead: models side by side, such as rm1,rm3,wnd.")
    ] = "",
    demand: Annotated[
        str, typer.Option(help="With --colocate: queries/s of each model, rm1=200,rm3=50,wnd=900.")
    ] = "",
    sla: Annotated[
        str, typer.Option(help="With --colocate: of all models; the published ones if none.")
    ] = "",
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Time batches, answers compared first, contenders in turn, fresh inputs each time.

    With --colocate: exit 1 where a model misses its SLA alone or the --demand is not served.
    """
    if colocate:
        config_of_lanes = ColocateConfig(
            rounds=rounds, round_s=round_ms / 1e3, inputs=inputs, isa=isa, seed=seed
        )
        met = run_colocate(colocate, config_of_lanes, demand, sla, rows_scale, out, json)
        raise typer.Exit(0 if met else 1)
    if not model:
        raise ConfigError("expected a MODEL, or --colocate MODEL,MODEL")
    asked = chosen(peers)
    own = LOW_OWN if low or (plan is None and any(is_low(name) for name in asked)) else ()
    if plan is not None:
        own = (*own, PLAN)
    config = BenchConfig(
        rows=_counts(batch, "--batch ROWS[,ROWS...]", MOST_ROWS),
        threads=_counts(threads, "--threads N[,N...]", MOST_THREADS),
        peers=(*own, *asked),
        isa=isa,
        inputs=inputs,
        rows_scale=rows_scale,
        seed=seed,
        rounds=rounds,
        round_s=round_ms / 1e3,
        plan=plan,
        cache=cache.expanduser(),
        may_compile=compiling,
    )
    if config.peers:
        hold_process(isa)
    made = open_model(model, rows_scale, seed)
    store = None if out is None else Store(out, seed)
    cells = run_bench(made, config, store, lambda text: progress.print(f"  {text}", style="dim"))
    if json:
        print_json([cell.as_dict() for cell in cells])
        return
    _show(cells, config)


def _counts(text: str, form: str, most: int) -> tuple[int, ...]:
    """Different counts of a list, in its order."""
    try:
        counts = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError:
        counts = (0,)
    if any(not 1 <= n <= most for n in counts):
        raise ConfigError(f"expected {form}, each from 1 to {most}, got {text!r}")
    return counts


def _show(cells: list[Cell], config: BenchConfig) -> None:
    """One table per number of threads: a column per batch size, a row per contender."""
    for threads in config.threads:
        shown = [cell for cell in cells if cell.threads == threads]
        title = f"{shown[0].model}, {threads} thread(s), {config.isa}, {config.inputs} indices: us"
        rows = bench_table.columns(shown, config.peers)
        heads = ("rows", *(str(cell.rows) for cell in shown))
        console.print(table(f"{title} (measured; floor modelled)", heads, rows))
    for line in bench_table.reasons(cells):
        console.print(line, style="dim", markup=False)
