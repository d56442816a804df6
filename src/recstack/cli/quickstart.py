"""`recstack quickstart`: the main job, end to end, on the bundled model and real ratings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from recstack import results
from recstack.cli.latency import load_table
from recstack.cli.options import DEFAULT_SLA, BudgetS, Json, Seed, SlaText
from recstack.cli.output import console, print_json, progress, table
from recstack.cli.tuned import describe_schedule, found_records, show_progress, tuned_table
from recstack.data.metrics import Interval
from recstack.data.movielens import Accuracy, Example
from recstack.engine import Engine, HybridEngine, compile
from recstack.errors import ConfigError, RecstackError
from recstack.loadtest import SLA, LoadResult, judge, null_latency, sizes, summarise
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.remote import load_over_http
from recstack.model import load as load_model
from recstack.report import write_report
from recstack.tune import Deployment, QueryPool, TuneConfig, Tuned, start, trace_tuned
from recstack.tune import tune as tune_engine

SIZES = "production"
AUC_TOLERANCE = 1e-6
SHARES = (0.02, 0.05, 0.1, 0.15, 0.2)  # the client shares the cores: HTTP holds about a quarter
RUN_S = 2.0


def quickstart(
    example: Annotated[Path, typer.Option(help="The MovieLens example's folder.")] = Path(
        "examples/movielens"
    ),
    model: Annotated[str, typer.Option(help="wnd or din.")] = "wnd",
    sla: SlaText = DEFAULT_SLA,
    out: Annotated[Path, typer.Option(help="Folder for report, plan and results.")] = Path("out"),
    budget_s: BudgetS = 30,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Check accuracy, tune, serve over HTTP, load-test, and write a report; exit 1 on a failure."""
    folder = example / "models" / model
    if not (folder / "model.json").exists():
        raise ConfigError(f"expected the bundled model in {folder}: run this in a recstack clone")
    target = sla_forms.parse(sla)
    engine = compile(load_model(folder))
    ratings, names = Example(example), [i.name for i in engine.model.sparse]
    accuracy = _step("accuracy on held-out ratings", lambda: ratings.accuracy(engine, names, model))
    pool = QueryPool(lambda index, rows: ratings.query(names, seed + index, rows), per_size=2)
    tuned = _step(f"tuning for {target}", lambda: _tune(engine, pool, target, budget_s, seed))
    traces = _step("tracing lanes", lambda: _trace(engine, pool, tuned, seed))
    runs, stages = _step("serving over HTTP under open-loop load", lambda: _serve(
        engine, pool, tuned, target, seed))  # fmt: skip
    null = null_latency(1000.0)
    records = [
        accuracy.to_record(engine.model.name),
        *found_records(tuned, engine=engine.config.model_dump()),
        *({"record": "load", "label": "HTTP", "rate_qps": rate, "transport": "HTTP",
           **run.to_record()} for _, rate, run in runs),
        {"record": "stages", "label": "dispatcher, all HTTP runs", "origin": "measured",
         "stages": stages},
        *traces,
        {"record": "null", **null.to_record()},
    ]  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    results.write(out / "quickstart.jsonl", "quickstart", records, seed=seed)
    write_report([out / "quickstart.jsonl"], out / "report.html")
    _save_plan(out, folder, engine, tuned, sla)
    if json:
        print_json([r for r in records if r["record"] not in ("load", "timeline")])
    else:
        _print(accuracy, tuned, runs, sla, out, engine.model.name)
    raise typer.Exit(0 if _holds(accuracy, tuned) else 1)


def _step(what: str, work: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    progress.print(f"{what} ...")
    done = work()
    progress.print(f"  {time.perf_counter() - began:.1f} s", style="dim")
    return done


def _tune(
    engine: Engine | HybridEngine, pool: QueryPool, target: SLA, budget_s: float, seed: int
) -> Tuned:
    config = TuneConfig(budget_s=budget_s, seed=seed)
    with show_progress(budget_s, brief=True) as watch:
        return tune_engine(engine, pool, sizes.parse(SIZES), target, config, watch=watch)


def _trace(
    engine: Engine | HybridEngine, pool: QueryPool, tuned: Tuned, seed: int
) -> list[dict[str, Any]]:
    """What lanes run at the baseline's rate, under both schedules."""
    qps = tuned.baseline.found.low_qps
    return trace_tuned(engine, tuned, pool, sizes.parse(SIZES), qps, seed=seed) if qps else []


def _serve(
    engine: Engine | HybridEngine, pool: QueryPool, tuned: Tuned, target: SLA, seed: int
) -> tuple[list[tuple[str, float, LoadResult]], dict[str, Any]]:
    """Load the served model at rising shares of the tuned rate, until the target is missed."""
    from recstack.serve import ServeConfig, Server

    found = tuned.best.found
    reached = found.low_qps or min((p.rate_qps for p in found.probes), default=2.0) / 2
    dispatcher = start(engine, tuned.best.schedule, loop=True)
    runs = []
    try:
        with Server({engine.model.name: (engine.model, dispatcher)}, ServeConfig()) as server:
            for share in SHARES:
                rate = max(share * reached, 1.0)
                run = load_over_http(server.url, engine.model.name, pool, sizes.parse(SIZES),
                                     target, rate, RUN_S, seed=seed)  # fmt: skip
                runs.append((f"HTTP {share:.0%}", rate, run))
                if not summarise(run, target).meets(target):
                    break
        return runs, dispatcher.stats().stages_record()
    finally:
        dispatcher.close()


def _save_plan(
    out: Path, folder: Path, engine: Engine | HybridEngine, tuned: Tuned, sla: str
) -> None:
    Deployment(
        model=os.path.relpath(folder, out), engine=engine.config,
        schedule=tuned.best.schedule, sla=sla, sizes=SIZES, qps=round(tuned.best.found.low_qps, 1),
    ).save(out / "plan.toml")  # fmt: skip


def _holds(accuracy: Accuracy, tuned: Tuned) -> bool:
    """Whether the engine reproduces torch's AUC and some schedule meets the target."""
    if abs(accuracy.auc.value - accuracy.torch_auc) > AUC_TOLERANCE:
        raise RecstackError(
            f"expected the AUC that torch measured, {accuracy.torch_auc}, got {accuracy.auc.value}"
        )
    return tuned.best.found.low_qps > 0


def _print(
    accuracy: Accuracy, tuned: Tuned, runs: list[tuple[str, float, LoadResult]], sla: str,
    out: Path, name: str,
) -> None:  # fmt: skip
    target = sla_forms.parse(sla)

    def interval(x: Interval) -> str:
        return f"{x.low:.4f}..{x.high:.4f}"

    console.print()
    console.print(table(
        f"Accuracy of {name} on {accuracy.rows:,} held-out ratings (measured)",
        ("", "value", "95% interval", "torch", "logistic regression"),
        [("AUC", f"{accuracy.auc.value:.6f}", interval(accuracy.auc),
          f"{accuracy.torch_auc:.6f}", f"{accuracy.baseline_auc:.6f}"),
         ("log loss", f"{accuracy.log_loss.value:.6f}", interval(accuracy.log_loss), "", "")],
    ))  # fmt: skip
    console.print()
    console.print(tuned_table(tuned, sla, SIZES))
    console.print()
    console.print(
        load_table([(label, run) for label, _, run in runs], rates=", at shares of the QPS above")
    )
    for label, _, run in runs:
        verdict = judge(run, target)
        if not verdict.valid:
            console.print(f"{label}: {verdict}", style="yellow")
    console.print(f"\nbest schedule: {describe_schedule(tuned.best.schedule)}")
    console.print(f"report: {out / 'report.html'}   plan: {out / 'plan.toml'}", soft_wrap=True)
