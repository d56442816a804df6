"""`recstack load`: open-loop load against a served model, or a deployment in process."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import typer

from recstack import results
from recstack.cli.latency import load_table, null_table
from recstack.cli.models import measured_costs, open_plan
from recstack.cli.options import (
    DEFAULT_SIZES,
    DEFAULT_SLA,
    ArrivalsText,
    IndicesText,
    Json,
    PlanName,
    ResultFile,
    RowsScale,
    Seed,
    SizesOption,
    SlaOption,
)
from recstack.cli.output import console, print_json, progress
from recstack.cli.policies import PoliciesOption, ScalesText, compare_policies, live_setting
from recstack.errors import ConfigError
from recstack.loadtest import (
    SLA,
    LoadResult,
    NullLatency,
    arrivals,
    judge,
    make_queries,
    make_traffic,
    summarise,
)
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.outcome import OK
from recstack.loadtest.remote import load_over_http
from recstack.loadtest.traffic import check_enough
from recstack.machine.power import Energy
from recstack.model import Model
from recstack.tune import Deployment, compile_deployment, random_queries
from recstack.tune.live import load_deployment, measure_null
from recstack.tune.setting import Setting


def load(
    plan: PlanName,
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
    out: ResultFile = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Send queries at scheduled times and report latency from the schedule; exit 1 past the SLA."""
    deployment, model = open_plan(plan, rows_scale, seed)
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    mix_text = sizes or deployment.sizes or DEFAULT_SIZES
    mix, process = size_forms.parse(mix_text), arrivals.parse(arrival)
    if policies:
        if url or arrival != "poisson":
            raise ConfigError("expected --policies in process, without --url, on poisson arrivals")
        setting = _setting(deployment, model, mix, indices, seed)
        met = compare_policies(setting, policies, target, sla_scale, out, json)
        raise typer.Exit(0 if met else 1)
    check_enough(qps, seconds)
    factory, energy = random_queries(model, seed, indices), None
    if url:
        run = load_over_http(
            url, name or model.name, factory, mix, target, qps, seconds, process=process, seed=seed
        )
    else:
        traffic = make_traffic(
            qps, int(qps * seconds), seed=seed, process=process, distribution=mix
        )
        queries = make_queries(factory, traffic.rows)
        run, energy = load_deployment(deployment, model, queries, traffic.scheduled_ns, target)
    described = {
        "arrivals": arrivals.describe(arrival),
        "sizes": size_forms.describe(mix_text),
        "indices": indices,
        "different queries": f"{factory.different}",
    }
    records = [_load_record(url, qps, target, described, run, energy)]
    if out:  # at once: what follows may fail
        results.write(out, "load", records, seed=seed)
    typical = factory(0, int(np.median(run.rows))) if url else None
    null = measure_null(qps, over_http=typical)
    if out:
        records.append({"record": "null", **null.to_record()})
        results.write(out, "load", records, seed=seed)
        progress.print(f"wrote {out}", style="dim")
    met = _show(qps, target, described, run, energy, null, json)
    raise typer.Exit(0 if met else 1)


def _setting(
    deployment: Deployment, model: Model, sizes: size_forms.Sizes, indices: str, seed: int
) -> Setting:
    """This machine's lanes, for policies to be compared on."""
    engine = compile_deployment(deployment, model)
    costs = deployment.schedule.costs or measured_costs(engine, 1, seed)
    lanes = costs.busy[-1]
    return live_setting(engine, costs, lanes, sizes, indices=indices, seed=seed, model=model.name)


def _load_record(
    url: str | None, qps: float, target: SLA, described: dict[str, str], run: LoadResult,
    energy: Energy | None,
) -> dict[str, Any]:  # fmt: skip
    """The run as a record of a result file."""
    verdict = judge(run, target)
    record: dict[str, Any] = {
        "record": "load", "label": url or "in process", "rate_qps": qps,
        "transport": "HTTP" if url else "in process", **described, **run.to_record(),
        "sla": str(target), "reasons": verdict.reasons, "notes": verdict.notes,
    }  # fmt: skip
    if energy:
        record["energy"] = energy.to_record(_answered(run))
    return record


def _show(
    qps: float, target: SLA, described: dict[str, str], run: LoadResult, energy: Energy | None,
    null: NullLatency, json: bool,
) -> bool:  # fmt: skip
    """Print the run; whether it is valid and meets the target."""
    summary, verdict = summarise(run, target), judge(run, target)
    if json:
        told = {
            "valid": verdict.valid,
            "reasons": verdict.reasons,
            "notes": verdict.notes,
            "null": null.to_record(),
        }
        told |= {"energy": energy.to_record(_answered(run))} if energy else {}
        print_json({**described, **summary.to_record(), **told})
    else:
        console.print(load_table([(f"{qps:g} qps offered", run)]))
        console.print(null_table(null))
        if energy:
            console.print(energy.text(_answered(run)), soft_wrap=True)
        console.print(", ".join(f"{name}: {text}" for name, text in described.items()))
        met = "met" if summary.meets(target) else "missed"
        console.print(f"{target}: {met}; the run is {verdict}", soft_wrap=True)
    return verdict.valid and summary.meets(target)


def _answered(run: LoadResult) -> int:
    return int((run.status == OK).sum())
