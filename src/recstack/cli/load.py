"""`recstack load`: open-loop load against a served model, or a deployment in process."""

from __future__ import annotations

import math
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from recstack import results
from recstack.cli.models import RowsScale, open_model
from recstack.cli.output import Json, Seed, console, print_json, progress, table
from recstack.cli.policies import PoliciesOption, ScalesText, compare_policies, live_setting
from recstack.cli.traffic import (
    DEFAULT_SIZES,
    DEFAULT_SLA,
    ArrivalsText,
    IndicesText,
    SizesOption,
    SlaOption,
    measured_null,
    over_http,
    random_queries,
)
from recstack.errors import ConfigError
from recstack.loadtest import (
    DriverConfig,
    LoadResult,
    NullLatency,
    arrivals,
    drive,
    judge,
    make_queries,
    make_traffic,
    summarise,
)
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.quantiles import Quantile
from recstack.machine.power import PowerMeter
from recstack.model import Model
from recstack.tune import Deployment, compile_deployment, engine_costs, read_deployment, start
from recstack.tune.policies import Setting


def load(
    plan: Annotated[
        str,
        typer.Argument(
            metavar="PLAN", help="plan.toml, a model folder or a zoo name: what queries must fit."
        ),
    ],
    qps: Annotated[float, typer.Option(min=1e-3, help="Arrival rate.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the schedule.")] = 10.0,
    url: Annotated[str | None, typer.Option(help="A server; without one, in process.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name at the server.")] = None,
    sla: SlaOption = None,
    arrival: ArrivalsText = "poisson",
    sizes: SizesOption = None,
    indices: IndicesText = "uniform",
    policies: PoliciesOption = None,
    sla_scale: ScalesText = "0.5,1,1.5",
    out: Annotated[Path | None, typer.Option(help="Result file (JSON lines) to write.")] = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Send queries at scheduled times and report latency from the schedule; exit 1 past the SLA."""
    if plan.endswith(".toml"):
        deployment, model = read_deployment(plan)
    else:
        deployment, model = Deployment(model=plan), open_model(plan, rows_scale, seed)
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    distribution = size_forms.parse(sizes or deployment.sizes or DEFAULT_SIZES)
    process = arrivals.parse(arrival)
    if policies:
        if url or arrival != "poisson":
            raise ConfigError("expected --policies in process, without --url, on poisson arrivals")
        setting = _setting(deployment, model, distribution, indices, seed)
        met = compare_policies(setting, policies, target, sla_scale, out, json)
        raise typer.Exit(0 if met else 1)
    factory = random_queries(model, seed, indices)
    device = None if url else deployment.schedule.accelerator
    meter = PowerMeter(device.device) if device else None
    if url:
        served = name or model.name
        run = over_http(url, served, factory, distribution, target, qps, seconds, seed, process)
    else:
        count = max(int(qps * seconds), 1)
        traffic = make_traffic(qps, count, seed=seed, process=process, distribution=distribution)
        queries = make_queries(factory, traffic.rows)
        dispatcher = start(compile_deployment(deployment, model), deployment.schedule)
        try:
            config = DriverConfig(deadline_ns=10 * target.limit_ns)
            with meter or nullcontext():
                run = drive(dispatcher, queries, traffic.scheduled_ns, config=config)
        finally:
            dispatcher.close(drain=False)
    energy = meter.energy if meter else None
    null = measured_null(qps, http=url is not None)
    summary, verdict = summarise(run, target), judge(run, target)
    described = {
        "arrivals": arrivals.describe(arrival),
        "sizes": size_forms.describe(sizes or deployment.sizes or DEFAULT_SIZES),
        "indices": indices,
    }
    record = {"record": "load", "label": url or "in process", "rate_qps": qps,
              "transport": "HTTP" if url else "in process", **described, **run.to_record(),
              "sla": str(target), "reasons": verdict.reasons}  # fmt: skip
    answered = int((run.status == 0).sum())
    if energy:
        record["energy"] = energy.to_record(answered)
    if out:
        results.write(out, "load", [record, {"record": "null", **null.to_record()}], seed=seed)
        progress.print(f"wrote {out}", style="dim")
    if json:
        told = {"valid": verdict.valid, "reasons": verdict.reasons, "null": null.to_record()}
        told |= {"energy": energy.to_record(answered)} if energy else {}
        print_json({**described, **summary.to_record(), **told})
    else:
        console.print(load_table([(f"{qps:g} qps offered", run)]))
        console.print(null_table(null))
        if energy:
            console.print(energy.text(answered), soft_wrap=True)
        console.print(", ".join(f"{name}: {text}" for name, text in described.items()))
        console.print(f"held against {target}: {verdict}", soft_wrap=True)
    met = verdict.valid and summary.latency_ns[target.percentile].value <= target.limit_ns
    raise typer.Exit(0 if met else 1)


def _setting(
    deployment: Deployment, model: Model, sizes: size_forms.Sizes, indices: str, seed: int
) -> Setting:
    """This machine's lanes, for policies to be compared on."""
    engine, costs = compile_deployment(deployment, model), deployment.schedule.costs
    if costs is None:
        progress.print(f"measuring what batches of {model.name} cost", style="dim")
        costs = engine_costs(engine, seed=seed)
    lanes = costs.busy[-1]
    return live_setting(engine, costs, lanes, sizes, indices=indices, seed=seed, model=model.name)


def _ms(latency_ns: float) -> str:
    """Milliseconds, three digits or more."""
    ms = latency_ns / 1e6
    if not math.isfinite(ms):
        return "-"
    return f"{ms:.{2 if ms < 10 else 1 if ms < 100 else 0}f}"


def _with_interval(found: Quantile) -> str:
    return f"{_ms(found.value)}\n{_ms(found.low)}..{_ms(found.high)}"


def load_table(
    runs: list[tuple[str, LoadResult]], origin: str = "measured", rates: str = ""
) -> Any:
    """Latency percentiles with 95% intervals, and losses, of runs; rates: what their names mean."""
    rows = []
    for label, run in runs:
        s = summarise(run)
        tail = [_with_interval(s.latency_ns[p]) for p in (50.0, 95.0, 99.0)]
        unanswered = sum(n for status, n in s.statuses.items() if status != "ok")
        late = _ms(s.lateness_p99_ns)
        rows.append((label, s.queries, f"{s.achieved_qps:.0f}", *tail, late, unanswered))
    heads = ("run", "queries", "qps", "p50 ms", "p95 ms", "p99 ms", "late ms", "lost")
    return table(f"Latency from the schedule{rates} ({origin}, 95% intervals)", heads, rows)


def null_table(null: NullLatency) -> Any:
    """The generator alone."""
    rows = [(name, *(_ms(ns) for ns in found.values())) for name, found in null.latency_ns.items()]
    heads = ("null system", *(f"{share} ms" for share in ("p50", "p90", "p99", "p99.9", "most")))
    return table(f"Nothing under test, at {null.rate_qps:g} qps (measured)", heads, rows)
