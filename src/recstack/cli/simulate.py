"""`recstack simulate`: what a policy would do on any number of lanes, from measured costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recstack import results
from recstack.cli.latency import load_table
from recstack.cli.models import measured_costs, open_plan
from recstack.cli.options import (
    DEFAULT_SIZES,
    DEFAULT_SLA,
    Json,
    RowsScale,
    Seed,
    SizesOption,
    SlaOption,
)
from recstack.cli.output import console, print_json, progress, rate
from recstack.cli.policies import PoliciesOption, ScalesText, compare_policies, simulated_setting
from recstack.cli.simulated import assumed, describe, search_record, search_table
from recstack.errors import ConfigError
from recstack.loadtest import SLA, make_traffic, summarise
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.search import Probe
from recstack.schedule import AcceleratorConfig, Costs, ScheduleConfig, read_costs
from recstack.simulate import ScheduleSearch, Simulated, find_costs
from recstack.simulate import simulate as run_simulation
from recstack.tune import Deployment, compile_deployment

DEEPRECSCHED = "deeprecsched"


def simulate(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="costs.json, a plan.toml with costs, a model folder or a zoo name.",
        ),
    ],
    lanes: Annotated[int | None, typer.Option(min=1, help="Lanes; the plan's, or 1.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            help=f"fixed | slack | {DEEPRECSCHED} (climbs chunk, then threshold); the plan's if "
            "none."
        ),
    ] = None,
    chunk_rows: Annotated[int | None, typer.Option(min=1, help="Of the fixed policy.")] = None,
    qps: Annotated[
        float | None, typer.Option(min=1e-3, help="Arrival rate; without it QPS@SLA is searched.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of a run at --qps.")] = 100_000,
    sla: SlaOption = None,
    sizes: SizesOption = None,
    accelerator: Annotated[
        str | None,
        typer.Option(
            help="A device beside the lanes: a recorded one such as gtx-1080-ti, or a file of "
            "`recstack accelerator` or --save-costs; DEVICE:MODEL takes another model's curve."
        ),
    ] = None,
    accelerators: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
    threshold_rows: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Of the fixed policy: queries of so many rows go to the accelerator; climbed "
            "where none is given.",
        ),
    ] = None,
    save_costs: Annotated[
        Path | None, typer.Option(help="Write the costs that were used as JSON.")
    ] = None,
    policies: PoliciesOption = None,
    sla_scale: ScalesText = "0.5,1,1.5",
    out: Annotated[
        Path | None, typer.Option(help="Result file (JSON lines) of --qps or --policies.")
    ] = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Simulate a schedule in virtual time; exit 1 if the SLA is not met.

    A model's costs are measured here first. Past the busy lanes that were measured, co-running
    lanes are taken to slow each other down no further.
    """
    if policies and (qps or policy or chunk_rows or threshold_rows):
        raise ConfigError("expected --policies without --qps, --policy and their rows")
    deployment, costs, name = _read(source, rows_scale, seed)
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    distribution = size_forms.parse(sizes or deployment.sizes or DEFAULT_SIZES)
    climbing = policy == DEEPRECSCHED
    changes = {
        "lanes": lanes,
        "policy": "fixed" if climbing else policy,
        "chunk_rows": chunk_rows,
        "accelerator": accelerator and _device(accelerator, name, accelerators, threshold_rows),
    }
    schedule = ScheduleConfig.model_validate(
        deployment.schedule.model_dump(exclude={"cores", "costs"})
        | {name: value for name, value in changes.items() if value is not None}
        | {"costs": costs, "target_ms": target.limit_ms, "queue_queries": 1 << 16}
    )
    if save_costs:
        costs.save(save_costs)
    if policies:
        if said := assumed(schedule):
            progress.print(said, style="dim", soft_wrap=True)
        setting = simulated_setting(
            costs, schedule.lanes, distribution, accelerator=schedule.accelerator, seed=seed,
            model=name or Path(source).stem,
        )  # fmt: skip
        met = compare_policies(setting, policies, target, sla_scale, out, json)
        raise typer.Exit(0 if met else 1)
    if qps is None:
        search = ScheduleSearch(target, distribution, seed, began=_began, watch=_watch)
        found = search.run(
            schedule, climb_chunk=climbing,
            climb_threshold=accelerator is not None and threshold_rows is None,
        )  # fmt: skip
        if json:
            print_json(search_record(found))
        else:
            console.print(search_table(found, target), soft_wrap=True)
        raise typer.Exit(0 if found.best.low_qps > 0 else 1)
    traffic = make_traffic(qps, queries, seed=seed, distribution=distribution)
    done = run_simulation(
        schedule, traffic, deadline_ns=ScheduleSearch.deadline_ns(schedule, target),
        warmup=queries // 20, seed=seed,
    )  # fmt: skip
    raise typer.Exit(0 if _show(done, schedule, qps, target, out, seed, json) else 1)


def _device(text: str, model: str, count: int, threshold_rows: int | None) -> AcceleratorConfig:
    device, costs = find_costs(text, model)
    progress.print(f"{device.name}: {device.origin}. {device.source}", style="dim", soft_wrap=True)
    for assumption in device.assumed:
        progress.print(f"  assumed: {assumption}", style="dim", soft_wrap=True)
    return AcceleratorConfig(
        device=device.name, lanes=count, threshold_rows=threshold_rows or 1, costs=costs
    )


def _read(source: str, rows_scale: float, seed: int) -> tuple[Deployment, Costs, str]:
    """A schedule to start from, costs (read, or measured here), and the model's name."""
    if source.endswith(".json"):
        costs = read_costs(source)
        schedule = ScheduleConfig(lanes=costs.busy[-1])
        return Deployment(model="", schedule=schedule), costs, costs.what.partition(",")[0]
    deployment, model = open_plan(source, rows_scale, seed)
    schedule = deployment.schedule
    costs = schedule.costs or measured_costs(
        compile_deployment(deployment, model), schedule.threads_per_lane, seed
    )
    return deployment, costs, model.name


def _began(schedule: ScheduleConfig) -> None:
    progress.print(describe(schedule), style="dim", soft_wrap=True)


def _watch(probe: Probe) -> None:
    line = f"  {rate(probe.rate_qps):>10} qps  {probe.outcome}"
    over = f"{probe.over} of {probe.queries} over the limit"
    progress.print(f"{line}  ({over})", style="dim", soft_wrap=True)


def _show(
    done: Simulated, schedule: ScheduleConfig, qps: float, sla: SLA, out: Path | None, seed: int,
    json: bool,
) -> bool:  # fmt: skip
    said = {"assumed": text} if (text := assumed(schedule)) else {}
    summary = summarise(done.run, sla)
    if out:
        record = {"record": "load", "label": "simulated", "rate_qps": qps, "sla": str(sla),
                  "transport": "virtual time", "reasons": (), **said,
                  **done.run.to_record()}  # fmt: skip
        results.write(out, "load", [record], seed=seed)
        progress.print(f"wrote {out}", style="dim")
    figures: dict[str, Any] = {"utilisation": done.utilisation, **done.counts}
    if json:
        print_json({"origin": "simulated", **said, **summary.to_record(), **figures})
    else:
        console.print(load_table([(f"{qps:g} qps offered", done.run)], origin="simulated"))
        console.print(f"lanes busy {done.utilisation:.1%}; {done.counts['batches']} batches, "
                      f"{done.counts['early']} refused early (simulated)")  # fmt: skip
        for text in said.values():
            console.print(f"{text} (simulated)", soft_wrap=True)
        met = "met" if summary.meets(sla) else "missed"
        console.print(f"{sla}: {met} (simulated)")
    return summary.meets(sla)
