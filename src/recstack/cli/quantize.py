"""`recstack quantize`: the cheapest precision plan that labelled data prove to keep a budget."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from recstack import results
from recstack.cli.debugged import show_debug
from recstack.cli.importing import find_function
from recstack.cli.models import open_model
from recstack.cli.options import Isa, Json, ModelName, Seed
from recstack.cli.output import print_json
from recstack.cli.quantised import print_quantised, quantise_shown
from recstack.data.labelled import read_labelled
from recstack.data.paired_metrics import Metric, metric_of, parse_metric
from recstack.engine import EngineConfig
from recstack.engine.precision import FORMATS
from recstack.errors import ConfigError, Unprovable
from recstack.precision.budget import parse_budget
from recstack.precision.plan import PrecisionPlan, read_plan, uniform
from recstack.precision.proof import prove
from recstack.report import write_report
from recstack.rows import RowFormat
from recstack.tune.quantise import QuantiseConfig
from recstack.tune.quantise.costs import plan_bytes, plan_ns
from recstack.tune.quantise.deploy import deploy
from recstack.tune.quantise.publish import publish as publish_plan
from recstack.tune.quantise.record import precision_record, proof_record


class Objective(enum.StrEnum):
    """What to save."""

    LATENCY = "latency"
    MEMORY = "memory"


def quantize(
    model: ModelName,
    data: Annotated[Path, typer.Option(help="Labelled data (recstack.data.labelled).")],
    metric: Annotated[
        str, typer.Option(help="ne, logloss, auc, hr@K[/N], ndcg@K[/N] or MODULE:FUNCTION.")
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

    --publish always ends in a deployment: in fp32 where nothing of the plan is proven, or where
    what is takes no less time (--objective latency).
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
        show_debug(made, given or uniform(made, "int8", "int8"), labelled, out, seed, json)
        return
    measure, limit = _metric(metric), parse_budget(budget, floor)
    notes: Mapping[str, str] = {}
    chosen, kept = PrecisionPlan(), None
    try:
        if given is None:
            config = QuantiseConfig.model_validate(
                {"objective": objective.value, "rows": rows, "seed": seed,
                 "tables": _formats(tables, tuple(RowFormat), "--tables"),
                 "layers": _formats(layers, FORMATS, "--layers"),
                 "activations": "static" if static else "dynamic"}
            )  # fmt: skip
            found = quantise_shown(made, labelled, measure, limit, config, engine, out)
            record, chosen, notes = found.to_record(made, metric, limit), found.plan, found.notes
        elif publish:
            kept = publish_plan(made, given, labelled, measure, limit, engine=engine, seed=seed)
            record, chosen, notes = kept.to_record(made, metric, limit), kept.plan, kept.given_up
        else:
            proof = prove(made, given, labelled, measure, limit, config=engine, seed=seed)
            record, chosen = proof_record(made, measure.name, proof), given
    except Unprovable as error:
        reason = f"the data cannot prove the budget: {error}"
        record = precision_record(made, metric, limit, verdict="too_small", reason=reason)
    holds = publish or record["verdict"] == "proven"
    ns = plan_ns(made, chosen, rows, seed, engine) if holds else None
    if ns and objective is Objective.LATENCY and ns[1] >= ns[0]:
        reason = _not_faster(record["reason"], rows, ns)
        if kept is not None and not kept.is_fp32:
            kept = kept.not_faster(made, reason)
            record, chosen, notes = kept.to_record(made, metric, limit), kept.plan, kept.given_up
            ns = ns[0], ns[0]
        elif given is None:
            record |= {"verdict": "not_faster", "reason": reason}
            holds = False
    record |= {
        "rows": rows,
        "bytes": [plan_bytes(made, PrecisionPlan()), plan_bytes(made, chosen)],
        "ns": ns,
    }
    if out is not None:
        before = "before" if (out / "plan.toml").exists() else "none"
        record["deployment"] = "new" if holds else before
        results.write(out / "quantize.jsonl", "quantize", [record], seed=seed)
        write_report([out / "quantize.jsonl"], out / "report.html")
        if holds:
            reference = Path(model).resolve() if Path(model).is_dir() else None
            deploy(out, made, chosen, notes=notes, engine=engine, reference=reference)
    if json:
        print_json(record)
    else:
        print_quantised(record, out, holds)
    raise typer.Exit(0 if holds else 1)


def _make(out: Path, model: str) -> None:
    """The folder to write into, which must not be where the model itself would be replaced."""
    if (out / "model").exists() and Path(model).resolve() == (out / "model").resolve():
        raise ConfigError(f"expected another folder than that of the model, got {out} - at `--out`")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {out}: {error.strerror}") from error


def _not_faster(reason: str, rows: int, ns: tuple[float, float]) -> str:
    fp32, plan = (f"{v / 1e3:,.1f} us" for v in ns)
    return f"{reason}; but {rows} rows take {plan} in the whole plan and {fp32} in fp32"


def _metric(text: str) -> Metric:
    return metric_of(find_function(text), text) if ":" in text else parse_metric(text)


def _formats(text: str, known: Sequence[str], option: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if unknown := [name for name in found if name not in known]:
        raise ConfigError(f"expected {option} of {', '.join(known)}, got {unknown[0]!r}")
    return found
