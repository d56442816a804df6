"""`recstack load`: open-loop load against a served model, or a deployment in process."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from recstack import results
from recstack.cli.models import RowsScale, open_model
from recstack.cli.output import Json, Seed, console, print_json, progress, table
from recstack.cli.traffic import (
    DEFAULT_SIZES,
    DEFAULT_SLA,
    SizesOption,
    SlaOption,
    over_http,
    random_queries,
)
from recstack.loadtest import (
    DriverConfig,
    LoadResult,
    drive,
    judge,
    make_queries,
    make_traffic,
    null_latency,
    summarise,
)
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.tune import Deployment, compile_deployment, read_deployment, start


def load(
    plan: Annotated[
        str, typer.Argument(help="plan.toml, a model folder or a zoo name: what queries must fit.")
    ],
    qps: Annotated[float, typer.Option(min=1e-3, help="Arrival rate.")] = 100.0,
    seconds: Annotated[float, typer.Option(min=0.1, help="Length of the schedule.")] = 10.0,
    url: Annotated[str | None, typer.Option(help="A server; without one, in process.")] = None,
    name: Annotated[str | None, typer.Option(help="The model's name at the server.")] = None,
    sla: SlaOption = None,
    sizes: SizesOption = None,
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
    factory = random_queries(model, seed)
    if url:
        served = name or model.name
        run = over_http(url, served, factory, distribution, target, qps, seconds, seed)
    else:
        count = max(int(qps * seconds), 1)
        traffic = make_traffic(qps, count, seed=seed, distribution=distribution)
        queries = make_queries(factory, traffic.rows)
        dispatcher = start(compile_deployment(deployment, model), deployment.schedule)
        try:
            config = DriverConfig(deadline_ns=10 * target.limit_ns)
            run = drive(dispatcher, queries, traffic.scheduled_ns, config=config)
        finally:
            dispatcher.close(drain=False)
    record = {"record": "load", "label": url or "in process", "rate_qps": qps,
              "transport": "HTTP" if url else "in process", **run.to_record()}  # fmt: skip
    summary, verdict = summarise(run, target), judge(run, target)
    record |= {"sla": str(target), "reasons": verdict.reasons}
    if out:
        null = {"record": "null", **null_latency().to_record()}
        results.write(out, "load", [record, null], seed=seed)
        progress.print(f"wrote {out}", style="dim")
    if json:
        print_json({**summary.to_record(), "valid": verdict.valid, "reasons": verdict.reasons})
    else:
        console.print(load_table([(f"{qps:g} qps offered", run)]))
        console.print(f"held against {target}: {verdict}")
    met = verdict.valid and summary.latency_ns[target.percentile].value <= target.limit_ns
    raise typer.Exit(0 if met else 1)


def _ms(latency_ns: float) -> str:
    return f"{latency_ns / 1e6:.2f}" if math.isfinite(latency_ns) else "-"


def load_table(runs: list[tuple[str, LoadResult]], origin: str = "measured") -> Any:
    """Latency percentiles and losses of runs, one line each."""
    rows = []
    for label, run in runs:
        s = summarise(run)
        tail = [_ms(s.latency_ns[p].value) for p in (50.0, 95.0, 99.0)]
        unanswered = sum(n for status, n in s.statuses.items() if status != "ok")
        late = f"{s.lateness_p99_ns / 1e6:.2f}"
        rows.append((label, s.queries, f"{s.achieved_qps:.0f}", *tail, late, unanswered))
    heads = (
        "run",
        "queries",
        "qps",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "late ms",
        "unanswered",
    )
    return table(f"Latency from the schedule ({origin})", heads, rows)
