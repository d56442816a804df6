"""`recstack mlperf`: a model under MLPerf's own load generator. Unofficial."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
import typer

from recstack import results
from recstack.cli.models import open_plan
from recstack.cli.options import Json, PlanName, ResultFile, RowsScale, Seed
from recstack.cli.output import console, print_json, progress, table
from recstack.data import random_batch
from recstack.engine import compile
from recstack.errors import ConfigError
from recstack.mlperf import RULES, Ran, RunConfig, System, Verdict, check, run
from recstack.mlperf.rules import MIN_DURATION_S, ScenarioName
from recstack.model import Model, zoo
from recstack.model.ops import EmbeddingBag
from recstack.schedule import ScheduleConfig
from recstack.tune import compile_deployment, start
from recstack.types import Query

BENCHMARK_MODEL = "dlrm-dcnv2"


def mlperf(
    plan: PlanName = BENCHMARK_MODEL,
    scenario: Annotated[
        str, typer.Option(help=" | ".join(get_args(ScenarioName)) + ".")
    ] = "server",
    qps: Annotated[float, typer.Option(min=1e-3, help="Arrival rate, server only.")] = 10.0,
    accuracy: Annotated[
        bool, typer.Option("--accuracy", help="Score all samples; hold the AUC to fp32's.")
    ] = False,
    quality: Annotated[float, typer.Option(help="Share of the AUC: 0.99 or 0.999.")] = 0.999,
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Least duration; under 600 the run is marked scaled.")
    ] = MIN_DURATION_S,
    samples: Annotated[int, typer.Option(min=1, help="Samples in memory.")] = 1024,
    min_samples: Annotated[
        int | None, typer.Option(min=1, help="Fewer samples than the rules ask; marked scaled.")
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for LoadGen's log files.")] = None,
    out: ResultFile = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Run LoadGen's traffic against a model and check the conditions; exit 1 if one fails."""
    if scenario not in RULES:
        raise ConfigError(f"expected --scenario {' | '.join(RULES)}, got {scenario!r}")
    config = RunConfig(
        scenario=scenario,
        qps=qps,
        accuracy=accuracy,
        quality=quality,
        samples=samples,
        duration_s=seconds,
        min_samples=min_samples,
        seed=seed,
    )
    opener = partial(open_system, plan, rows_scale, seed)
    progress.print(f"LoadGen, {scenario}, {'accuracy' if accuracy else f'{seconds:g} s'} ...")
    ran = run(opener, config, logs)
    verdict = check(ran)
    record = to_record(plan, ran, verdict)
    if out:
        results.write(out, "mlperf", [record], seed=seed)
    if json:
        print_json(record)
    else:
        _show(plan, ran, verdict)
    raise typer.Exit(0 if verdict.valid else 1)


def open_system(plan: str, rows_scale: float, seed: int) -> System:
    """The dispatcher of a plan or model; its queries have uniform indices."""
    deployment, model = open_plan(plan, rows_scale, seed)
    if not plan.endswith(".toml"):
        schedule = ScheduleConfig(lanes=len(os.sched_getaffinity(0)), merge_rows=0)
        deployment = deployment.model_copy(update={"schedule": schedule})
    scaled = smaller(model)
    if rows_scale != 1.0:
        scaled = {"table rows": f"{rows_scale:g} of full size"} | scaled

    def make(index: int, rows: int) -> Query:
        return Query(index, random_batch(model, rows, seed + index))

    return System(
        sut=start(compile_deployment(deployment, model), deployment.schedule),
        make=make,
        reference=compile(model).run,
        scaled=scaled | {"data": "synthetic"},
    )


def smaller(model: Model) -> dict[str, str]:
    """What of a model is not the benchmark's: its ops, or else the rows of its tables.

    >>> smaller(zoo.outline("dlrm-dcnv2")), smaller(zoo.outline("rm1"))
    ({}, {'model': 'rm1'})
    """
    full, shapes = zoo.description(BENCHMARK_MODEL)
    if (model.inputs, model.ops) != (full.inputs, full.ops):
        return {"model": model.name}
    tables = {op.table for op in full.ops if isinstance(op, EmbeddingBag)}
    share = sum(model.shapes[t][0] for t in tables) / sum(shapes[t][0] for t in tables)
    return {} if share == 1.0 else {"table rows": f"{share:.3g} of full size"}


def to_record(model: str, ran: Ran, verdict: Verdict) -> dict[str, Any]:
    """A run and its verdict as a record of a result file."""
    rules = RULES[ran.config.scenario]
    return {
        "record": "mlperf",
        "label": "unofficial",
        "origin": "measured",
        "model": model,
        "scenario": ran.config.scenario,
        "mode": "accuracy" if ran.config.accuracy else "performance",
        "valid": verdict.valid,
        "verdict": str(verdict),
        "conditions": [
            {"name": c.name, "expected": c.expected, "found": c.found, "outcome": c.outcome}
            for c in verdict.conditions
        ],
        "metric": None if ran.config.accuracy else ran.detail.get(rules.metric),
        "metric_name": rules.metric,
        "auc": ran.auc,
        "reference_auc": ran.reference_auc,
        "queries": int(ran.latency_ns.size),
        "loadgen_percentiles_ns": {f"p{p:g}": ns for p, ns in ran.percentiles_ns.items()},
        "own_percentiles_ns": {f"p{p:g}": ran.own_percentile_ns(p) for p in ran.percentiles_ns},
        "latency_ns": ran.latency_ns,
        "lateness_ns": ran.lateness_ns,
        "loadgen_version": ran.detail.get("loadgen_version"),
    }


def _show(model: str, ran: Ran, verdict: Verdict) -> None:
    rules = RULES[ran.config.scenario]
    title = f"{model}, {rules.loadgen}, LoadGen {ran.detail.get('loadgen_version')} (unofficial)"
    lines = [(c.name, c.expected, c.found, c.outcome) for c in verdict.conditions]
    console.print(table(title, ("condition", "expected", "found", ""), lines))
    if ran.config.accuracy:
        console.print(
            f"AUC {ran.auc:.6f}, the fp32 engine's {ran.reference_auc:.6f}, of synthetic labels"
        )
    else:
        console.print(f"{rules.metric}: {ran.detail.get(rules.metric)}")
        rows = [
            (f"p{p:g}", f"{ns / 1e6:.3f}", f"{ran.own_percentile_ns(p) / 1e6:.3f}")
            for p, ns in ran.percentiles_ns.items()
        ]
        console.print(table("Latency (measured)", ("", "LoadGen ms", "recstack ms"), rows))
        if ran.lateness_ns.size:
            late_us = np.percentile(ran.lateness_ns, 99) / 1e3
            console.print(f"LoadGen's own lateness: p99 {late_us:.0f} us (measured)")
    console.print(str(verdict), soft_wrap=True)
