"""`recstack tune`: find the schedule with the highest QPS@SLA and write plan.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from recstack.cli.output import Json, Seed, console, print_json, progress, table
from recstack.cli.traffic import SizesText, SlaText, random_queries
from recstack.engine import EngineConfig, compile
from recstack.errors import ConfigError
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.search import Probe
from recstack.model import load as load_model
from recstack.schedule import ScheduleConfig
from recstack.tune import Deployment, Trial, TuneConfig, Tuned
from recstack.tune import tune as tune_engine

ENDS = {"fail": "latency", "invalid": "generator", "undecided": "undecided"}


def tune(
    model: Annotated[str, typer.Argument(help="A model folder.")],
    sla: SlaText = "p95<=10ms",
    sizes: SizesText = "production",
    out: Annotated[Path, typer.Option(help="Deployment file to write.")] = Path("plan.toml"),
    budget_s: Annotated[
        float, typer.Option(min=1, help="Begin no new candidate after this.")
    ] = 120,
    isa: Annotated[str, typer.Option(help="Instruction set.")] = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Tune chunk size, lanes and threads for a model folder; exit 1 if nothing meets the SLA."""
    if not Path(model).is_dir():
        raise ConfigError(
            f"expected a model folder (`recstack zoo NAME --out FOLDER`), got {model!r}"
        )
    made = load_model(model)
    engine_config = EngineConfig(isa=isa)
    engine = compile(made, engine_config)
    progress.print(str(engine.memory), style="dim")
    found = tune_engine(
        engine,
        random_queries(made, seed),
        size_forms.parse(sizes),
        sla_forms.parse(sla),
        TuneConfig(budget_s=budget_s, seed=seed),
        watch=show_probe,
    )
    deployment = Deployment(
        model=os.path.relpath(model, out.parent),
        engine=engine_config,
        schedule=found.best.schedule,
        sla=sla,
        sizes=sizes,
        qps=round(found.best.found.low_qps, 1),
    )
    deployment.save(out)
    if json:
        memory = engine.memory.to_record()
        print_json({"plan": str(out), "memory": memory, **tuned_record(found)})
    else:
        console.print(tuned_table(found, sla, sizes))
        console.print(f"\nwrote {out}" + ("" if found.complete else " (stopped by --budget-s)"))
    raise typer.Exit(0 if found.best.found.low_qps > 0 else 1)


def show_probe(schedule: ScheduleConfig, probe: Probe) -> None:
    """One line of progress per probe."""
    progress.print(
        f"  {describe_schedule(schedule)}: {probe.rate_qps:8.0f} qps  {probe.outcome}"
        f"  ({probe.over} of {probe.queries} over the limit)",
        style="dim",
        soft_wrap=True,
    )


def describe_schedule(schedule: ScheduleConfig) -> str:
    """Lanes, threads, chunk and merge in a few words."""
    merged = f", merge {schedule.merge_rows}" if schedule.merge_rows else ""
    lanes = f"{schedule.lanes} x {schedule.threads_per_lane} threads"
    return f"{lanes}, chunk {schedule.chunk_rows}{merged}"


def tuned_record(found: Tuned) -> dict[str, Any]:
    """A tuning as JSON."""

    def one(trial: Trial) -> dict[str, Any]:
        return {"schedule": trial.schedule.model_dump(), **trial.found.to_record()}

    return {
        "baseline": one(found.baseline), "best": one(found.best),
        "trials": [one(t) for t in found.trials], "complete": found.complete,
    }  # fmt: skip


def tuned_table(found: Tuned, sla: str, sizes: str) -> Any:
    """Baseline (the static schedule) against tuned; at most 80 columns wide.

    bracket: the rates between which the answer lies. ended by: why it lies no higher.
    """
    rows = []
    for label, trial in (("baseline", found.baseline), ("tuned", found.best)):
        one = trial.found
        bracket = f"{one.low_qps:.0f}..{one.high_qps:.0f}"
        reason = ENDS.get(one.high_outcome or "", "")
        rows.append(
            (label, describe_schedule(trial.schedule), f"{one.low_qps:.0f}", bracket, reason)
        )
    heads = ("", "schedule", "QPS", "bracket", "ended by")
    confidence = f"{found.best.found.confidence:.0%} confidence"
    return table(f"QPS at {sla}, sizes {sizes} (measured, in process, {confidence})", heads, rows)
