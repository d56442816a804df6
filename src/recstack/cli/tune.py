"""`recstack tune`: find the schedule with the highest QPS@SLA and write plan.toml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.options import (
    DEFAULT_SIZES,
    DEFAULT_SLA,
    BudgetS,
    Isa,
    Json,
    Seed,
    SizesText,
    SlaText,
)
from recstack.cli.output import console, kept_in, print_json, progress
from recstack.cli.tuned import found_records, show_progress, tuned_record, tuned_table
from recstack.engine import EngineConfig
from recstack.errors import ConfigError
from recstack.files import check_writable
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.model import Model
from recstack.model import load as load_model
from recstack.results import write as write_results
from recstack.schedule import AcceleratorConfig
from recstack.tune import (
    Deployment,
    TuneConfig,
    Tuned,
    compile_deployment,
    random_queries,
    read_deployment,
    trace_tuned,
)
from recstack.tune import tune as tune_engines
from recstack.tune.live import null_record


def tune(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model folder.")],
    sla: SlaText = DEFAULT_SLA,
    sizes: SizesText = DEFAULT_SIZES,
    out: Annotated[Path, typer.Option(help="Deployment file to write.")] = Path("plan.toml"),
    budget_s: BudgetS = 120,
    isa: Isa = "auto",
    alternative: Annotated[
        list[Path] | None,
        typer.Option(help="A plan.toml or model folder to choose from as well; repeatable."),
    ] = None,
    slack: Annotated[
        bool, typer.Option(help="Try the policy 'slack' as well; measures what batches cost first.")
    ] = True,
    accelerator: Annotated[
        str | None,
        typer.Option(help="A device to use as well where that pays, such as cuda; measured first."),
    ] = None,
    journal: Annotated[
        Path | None, typer.Option(help="File that keeps probes; the same one resumes a search.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file to write, for `recstack report`.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Tune chunks, lanes, threads, merging and plan; exit 1, no plan if nothing meets the SLA."""
    if not Path(model).is_dir():
        hint = "a plan.toml is for --alternative" if model.endswith(".toml") else ""
        hint = hint or "`recstack zoo NAME --out FOLDER` makes one"
        raise ConfigError(f"expected a model folder, got {model!r} ({hint})")
    for path in filter(None, (out, results)):
        check_writable(path)
    # The name of the only plan is left out of every line.
    first = Path(model).name if alternative else ""
    plans = {first: _plan(Path(model), EngineConfig(isa=isa), out)}
    for path in alternative or ():
        plans[str(path)] = _plan(path, EngineConfig(isa=isa), out)
    engines = {name: compile_deployment(plan, made) for name, (plan, made) in plans.items()}
    for engine in engines.values():
        progress.print(str(engine.memory), style="dim")
    device = AcceleratorConfig(device=accelerator) if accelerator else None
    with kept_in(journal), show_progress(budget_s) as watch:
        found = tune_engines(
            engines,
            random_queries(plans[first][1], seed),
            size_forms.parse(sizes),
            sla_forms.parse(sla),
            TuneConfig(budget_s=budget_s, slack=slack, accelerator=device, seed=seed),
            journal=journal,
            watch=watch,
        )
    met = found.best.found.low_qps > 0
    if met:
        plan, _ = plans[found.best.candidate.plan]
        qps = round(found.best.found.low_qps, 1)
        changed = {"schedule": found.best.schedule, "sla": sla, "sizes": sizes, "qps": qps}
        plan.model_copy(update=changed).save(out)
    if results is not None:
        records = found_records(found)
        write_results(results, "tune", records, seed=seed)
        rate = max(found.baseline.found.low_qps, 1.0)
        pool = random_queries(plans[first][1], seed)
        records += trace_tuned(engines, found, pool, size_forms.parse(sizes), rate, seed=seed)
        write_results(results, "tune", [*records, null_record(rate)], seed=seed)
    if json:
        memory = engines[found.best.candidate.plan].memory.to_record()
        written = str(out) if met else None
        print_json({"plan": written, "memory": memory, **tuned_record(found)})
    else:
        if found.trials[0].found.probes:
            console.print(tuned_table(found, sla, sizes))
        console.print("\n" + _ended(found, sla, out, met), soft_wrap=True)
    raise typer.Exit(0 if met else 1)


def _ended(found: Tuned, sla: str, out: Path, met: bool) -> str:
    """What was written, and whether --budget-s ended the search."""
    if met:
        return f"wrote {out}" + ("" if found.complete else " (stopped by --budget-s)")
    why, probes = f"no rate that was tried meets {sla}", found.trials[0].found.probes
    if not probes:
        why = "--budget-s ended before the first probe"
    elif all(probe.outcome == "invalid" for probe in probes):
        why += f": none could be measured ({probes[-1].reason})"
    elif not found.complete:
        why += " before --budget-s ended"
    return f"{why}: no plan written" + (f", {out} left as it is" if out.exists() else "")


def _plan(path: Path, engine: EngineConfig, out: Path) -> tuple[Deployment, Model]:
    """A plan file's deployment, or one of a model folder; its paths as seen from `out`."""
    if path.is_dir():
        folder = os.path.relpath(path, out.parent)
        return Deployment(model=folder, engine=engine), load_model(path)
    deployment, model = read_deployment(path)
    given = {name: getattr(deployment, name) for name in ("model", "precision", "reference")}
    moved = {
        name: place and os.path.relpath(path.parent / place, out.parent)
        for name, place in given.items()
    }
    return deployment.model_copy(update=moved), model
