"""`recstack quantize`: the cheapest precision plan that labelled data prove to keep a budget."""

from __future__ import annotations

import enum
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from recstack import results
from recstack.cli.importing import find_function
from recstack.cli.models import open_model
from recstack.cli.options import Isa, Json, ModelName, Seed
from recstack.cli.output import console, print_json, progress, table
from recstack.data.labelled import LabelledData, read_labelled
from recstack.data.paired import Metric, metric_of, parse_metric
from recstack.engine import EngineConfig
from recstack.engine.precision import FORMATS
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.budget import Budget, parse_budget
from recstack.precision.debug import MOST_DB, OpReport
from recstack.precision.debug import debug as debug_plan
from recstack.precision.plan import PrecisionPlan, read_plan, uniform
from recstack.precision.proof import prove
from recstack.report import write_report
from recstack.rows import RowFormat
from recstack.tune import Deployment
from recstack.tune.quantise import QuantiseConfig, Quantised, Step, quantise
from recstack.tune.quantise.costs import plan_bytes, plan_ns
from recstack.tune.quantise.publish import Published
from recstack.tune.quantise.publish import publish as publish_plan
from recstack.tune.quantise.run import UNITS

DEBUG_ROWS = 2048


class Objective(enum.StrEnum):
    """What to save."""

    LATENCY = "latency"
    MEMORY = "memory"


def quantize(
    model: ModelName,
    data: Annotated[Path, typer.Option(help="Labelled data (recstack.data.labelled).")],
    metric: Annotated[
        str, typer.Option(help="ne, logloss, auc, hr@K, ndcg@K or MODULE:FUNCTION.")
    ] = "ne",
    budget: Annotated[
        str, typer.Option(help="How much worse it may be: 0.05% of it, or 0.002 in its unit.")
    ] = "0.05%",
    floor: Annotated[
        float | None, typer.Option(help="What the metric itself may not be worse than.")
    ] = None,
    objective: Annotated[Objective, typer.Option(help="What to save.")] = Objective.LATENCY,
    plan: Annotated[
        Path | None, typer.Option(help="Prove this plan (TOML) instead of searching.")
    ] = None,
    publish: Annotated[
        bool,
        typer.Option("--publish", help="New weights: keep what is proven of --plan, no more."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Compare the plan with fp32 op by op; proves nothing.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for plan, model, report, journal.")
    ] = None,
    tables: Annotated[str, typer.Option(help="Table formats beside fp32.")] = "fp16,int8,int4",
    layers: Annotated[str, typer.Option(help="Layer formats beside fp32.")] = "fp16,bf16,int8",
    static: Annotated[
        bool, typer.Option("--static", help="Ranges of int8 inputs from the data, not per row.")
    ] = False,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a timed query.")] = 64,
    isa: Isa = "auto",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Search and prove a precision plan; exit 1 when none, or the one given, keeps the budget.

    --publish always ends in a deployment: in fp32 where nothing of the plan is proven.
    """
    if publish and plan is None:
        raise ConfigError("expected --plan with --publish: what the weights before were served by")
    made = open_model(model)
    labelled = read_labelled(data, made.inputs)
    engine = EngineConfig(isa=isa)
    if out is not None:
        _make(out, model)
    given = None if plan is None else read_plan(plan)
    if debug:
        _debug(made, given or uniform(made, "int8", "int8"), labelled, out, seed, json)
        return
    measure = _metric(metric)
    limit = parse_budget(budget, floor)
    if given is None:
        config = QuantiseConfig.model_validate(
            {"objective": objective.value, "rows": rows, "seed": seed,
             "tables": _formats(tables, tuple(RowFormat), "--tables"),
             "layers": _formats(layers, FORMATS, "--layers"),
             "activations": "static" if static else "dynamic"}
        )  # fmt: skip
        found = _search(made, labelled, measure, limit, config, engine, out)
        record, chosen = found.to_record(made.name, metric, limit), found.plan
        notes = dict(found.notes)
    elif publish:
        kept = publish_plan(made, given, labelled, measure, limit, engine=engine, seed=seed)
        notes = dict.fromkeys(kept.given_up, "given up: not proven with these weights")
        record, chosen = _published(made, kept, metric, limit), kept.plan
    else:
        record, chosen, notes = (
            _proven(made, given, labelled, measure, limit, engine, seed),
            given,
            {},
        )
    holds = publish or record["verdict"] == "proven"
    record |= {
        "rows": rows,
        "bytes": [plan_bytes(made, PrecisionPlan()), plan_bytes(made, chosen)],
        "ns": plan_ns(made, chosen, rows, seed, engine) if holds else None,
    }
    if out is not None:
        _write(out, made, model, chosen, notes, record, engine, seed, holds)
    if json:
        print_json(record)
    else:
        _print(record, out, holds)
    raise typer.Exit(0 if holds else 1)


def _make(out: Path, model: str) -> None:
    """The folder to write into, which must not be where the model itself would be replaced."""
    if (out / "model").exists() and Path(model).resolve() == (out / "model").resolve():
        raise ConfigError(f"expected another folder than that of the model, got {out} - at `--out`")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {out}: {error.strerror}") from error


def _published(model: Model, kept: Published, metric: str, budget: Budget) -> dict[str, Any]:
    """The record of a plan for new weights."""
    given_up = ", ".join(kept.given_up)
    reason = f"{kept.reason}; given up: {given_up}" if given_up else kept.reason
    return {
        "record": "precision", "origin": "measured", "model": model.name, "metric": metric,
        "budget": str(budget), "limit": budget.limit, "relative": budget.relative,
        "verdict": "not_within" if kept.is_fp32 else "proven", "reason": reason,
        "objective": "memory", "unit": "bytes", "rows_needed": None,
    }  # fmt: skip


def _metric(text: str) -> Metric:
    return metric_of(find_function(text), text) if ":" in text else parse_metric(text)


def _formats(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in found if name not in known]:
        raise ConfigError(f"expected {option} of {', '.join(known)}, got {unknown[0]!r}")
    return found


def _search(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig, out: Path | None,
) -> Quantised:  # fmt: skip
    """The search with a bar for what is timed and a line for every plan tried."""
    bar = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(),
        TextColumn("{task.completed}/{task.total}"), TimeElapsedColumn(),
        console=progress, transient=True,
    )  # fmt: skip
    with bar:
        task = bar.add_task("measuring", total=None)
        tried = 0

        def watch(what: str, done: int, of: int) -> None:
            bar.update(task, description=f"cost of {what}", completed=done, total=of)

        def step(step: Step) -> None:
            nonlocal tried
            tried += 1
            bar.update(task, description="trying plans", completed=tried, total=None)
            progress.print(
                f"  plan {tried} on the {step.rows} rows, {step.cost:,.0f} "
                f"{UNITS[config.objective]}: {step.judgement.reason}",
                style="dim", markup=False, soft_wrap=True,
            )  # fmt: skip

        journal = None if out is None else out / "journal.jsonl"
        return quantise(
            model, data, metric, budget, config,
            engine=engine, journal=journal, watch=watch, step=step,
        )  # fmt: skip


def _proven(
    model: Model, plan: PrecisionPlan, data: LabelledData, metric: Metric, budget: Budget,
    engine: EngineConfig, seed: int,
) -> dict[str, Any]:  # fmt: skip
    """The record of a given plan, put to the proof on all of the data."""
    proof = prove(model, plan, data, metric, budget, config=engine, seed=seed)
    verdict = {"within": "proven", "exceeded": "not_within"}.get(
        proof.judgement.outcome, "too_small" if proof.judgement.rows_needed else "not_within"
    )
    return {
        "record": "precision", "origin": "measured", "model": model.name, "metric": metric.name,
        "budget": str(budget), "limit": budget.limit, "relative": budget.relative,
        "verdict": verdict, "reason": proof.judgement.reason, "objective": "memory",
        "unit": "bytes", "rows_needed": proof.judgement.rows_needed,
        "tried": [{"rows": "proof", "cost": plan_bytes(model, plan),
                   "outcome": proof.judgement.outcome,
                   "harm": {end: getattr(proof.judgement.worst.harm, end)
                            for end in ("value", "low", "high")}}],
    }  # fmt: skip


def _write(
    out: Path, model: Model, name: str, plan: PrecisionPlan, notes: dict[str, str],
    record: dict[str, Any], engine: EngineConfig, seed: int, holds: bool,
) -> None:  # fmt: skip
    """The result and its page; of a plan that holds also the plan, the model, the deployment.

    What was deployed there before stays, all of it, until all of the new is on disk.
    """
    results.write(out / "quantize.jsonl", "quantize", [record], seed=seed)
    write_report([out / "quantize.jsonl"], out / "report.html")
    if not holds:
        return
    formats = {t: plan.table(t) for t in model.table_formats}
    reference = str(Path(name).resolve()) if Path(name).is_dir() else None
    with TemporaryDirectory(prefix=".", suffix=".partial", dir=out) as aside:
        plan.save(Path(aside) / "precision.toml", notes)
        Deployment(
            model="model", precision="precision.toml", engine=engine, reference=reference
        ).save(Path(aside) / "plan.toml")
        model.save(out / "model", table_formats=formats, greedy=plan.greedy)
        for path in Path(aside).iterdir():
            path.replace(out / path.name)


def _print(record: dict[str, Any], out: Path | None, holds: bool) -> None:
    if chosen := record.get("chosen"):
        unit = record["unit"]
        rows = [
            (c["name"], c["kind"], c["precision"], f"{c['cost']:,.0f}", f"{c['fp32_cost']:,.0f}",
             c["note"])
            for c in chosen
        ]  # fmt: skip
        heads = ("name", "kind", "precision", unit, f"fp32 {unit}", "why")
        console.print(table(f"{record['model']}: precisions", heads, rows))
        console.print()
    console.print(f"{record['verdict']}: {record['reason']}", soft_wrap=True, markup=False)
    if record.get("rows_needed"):
        console.print(f"about {record['rows_needed']:,} rows would be needed")
    before, after = record["bytes"]
    console.print(
        f"tables and layers: {before:,} -> {after:,} bytes ({after / max(before, 1):.1%})"
    )
    if record["ns"]:
        before, after = record["ns"]
        console.print(
            f"{record['rows']} rows: {before / 1e3:,.1f} -> {after / 1e3:,.1f} us (measured, "
            f"random inputs), {before / after:.2f}x"
        )
    if out is not None:
        what = "plan, model, deployment and report" if holds else "report"
        console.print(f"wrote {what} to {out}{os.sep}", soft_wrap=True)


def _debug(
    model: Model, plan: PrecisionPlan, data: LabelledData, out: Path | None, seed: int, json: bool
) -> None:
    part = next(data.chunks(DEBUG_ROWS), data)
    reports = debug_plan(model, plan, part)
    records = [report.to_record() for report in reports]
    if out is not None:
        results.write(out / "debug.jsonl", "quantize", records, seed=seed)
        write_report([out / "debug.jsonl"], out / "debug.html")
    if json:
        print_json(records)
        return
    title = f"{model.name}: ops against fp32 on {part.rows:,} rows, the worst first (measured)"
    heads = ("layer, table or op", "precision", "own dB", "total dB", "largest", "saturated",
             "stand out")  # fmt: skip
    console.print(table(title, heads, [_debug_row(r) for r in reports]))
    if out is not None:
        console.print(f"\nwrote {out / 'debug.html'}", soft_wrap=True)


def _debug_row(r: OpReport) -> tuple[str, ...]:
    own = "" if r.own is None else _db(r.own.sqnr_db)
    saturated = "" if r.saturation is None else f"{r.saturation:.2%}"
    columns = ", ".join(map(str, r.columns[:4])) + (" ..." if len(r.columns) > 4 else "")
    return (
        r.unit or f"({r.kind} {r.name})", r.precision, own, _db(r.total.sqnr_db),
        f"{r.total.largest:.3g}", saturated, columns,
    )  # fmt: skip


def _db(value: float) -> str:
    return "exact" if value >= MOST_DB else f"{value:.1f}"
