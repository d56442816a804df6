"""`recstack simulate`: what a policy would do on any number of lanes, from measured costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recstack import results
from recstack.cli.load import load_table
from recstack.cli.models import RowsScale, open_model
from recstack.cli.output import Json, Seed, console, print_json, progress
from recstack.cli.policies import PoliciesOption, ScalesText, compare_policies, simulated_setting
from recstack.cli.traffic import DEFAULT_SIZES, DEFAULT_SLA, SizesOption, SlaOption
from recstack.engine import compile
from recstack.errors import ConfigError
from recstack.loadtest import SLA, SearchConfig, make_traffic, summarise
from recstack.loadtest import sizes as size_forms
from recstack.loadtest import sla as sla_forms
from recstack.loadtest.sizes import Sizes
from recstack.schedule import Costs, ScheduleConfig, read_costs
from recstack.simulate import Lanes, Service, Simulated, simulated_qps_at_sla
from recstack.simulate import simulate as run_simulation
from recstack.tune import Deployment, engine_costs, read_deployment


def simulate(
    source: Annotated[
        str,
        typer.Argument(help="costs.json, a plan.toml with costs, a model folder or a zoo name."),
    ],
    lanes: Annotated[int | None, typer.Option(min=1, help="Lanes; the plan's if none.")] = None,
    policy: Annotated[str | None, typer.Option(help="fixed | slack; the plan's if none.")] = None,
    chunk_rows: Annotated[int | None, typer.Option(min=1, help="Of the fixed policy.")] = None,
    qps: Annotated[
        float | None, typer.Option(min=1e-3, help="Arrival rate; without it QPS@SLA is searched.")
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of a run at --qps.")] = 100_000,
    sla: SlaOption = None,
    sizes: SizesOption = None,
    accelerator: Annotated[
        Path | None, typer.Option(help="costs.json of an accelerator beside the lanes.")
    ] = None,
    accelerators: Annotated[int, typer.Option(min=1, help="How many of them.")] = 1,
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
    if policies and (qps or policy or chunk_rows):
        raise ConfigError("expected --policies without --qps, --policy and --chunk-rows")
    deployment, costs = _read(source, rows_scale, seed)
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    distribution = size_forms.parse(sizes or deployment.sizes or DEFAULT_SIZES)
    changes = {"lanes": lanes, "policy": policy, "chunk_rows": chunk_rows}
    schedule = ScheduleConfig.model_validate(
        deployment.schedule.model_dump(exclude={"cores", "costs"})
        | {name: value for name, value in changes.items() if value is not None}
        | {"costs": costs, "target_ms": target.limit_ms, "queue_queries": 1 << 16}
    )
    if save_costs:
        costs.save(save_costs)
    kinds = [Lanes(schedule.lanes, Service(costs))]
    if accelerator:
        kinds.append(Lanes(accelerators, Service(read_costs(accelerator))))
    # A fixed policy serves what is late all the same; ten limits on it is hopeless.
    deadline_ns = None if schedule.policy == "slack" else 10 * target.limit_ns
    if policies:
        name = costs.what.partition(",")[0] or Path(source).stem
        setting = simulated_setting(kinds, distribution, seed=seed, model=name)
        met = compare_policies(setting, policies, target, sla_scale, out, json)
    elif qps is None:
        met = _search(schedule, kinds, distribution, target, deadline_ns, seed, json)
    else:
        traffic = make_traffic(qps, queries, seed=seed, distribution=distribution)
        done = run_simulation(
            schedule, traffic, kinds, deadline_ns=deadline_ns, warmup=queries // 20, seed=seed
        )
        met = _show(done, qps, target, out, seed, json)
    raise typer.Exit(0 if met else 1)


def _read(source: str, rows_scale: float, seed: int) -> tuple[Deployment, Costs]:
    """A schedule to start from, and costs: read, or measured here."""
    if source.endswith(".json"):
        costs = read_costs(source)
        return Deployment(model="", schedule=ScheduleConfig(lanes=costs.busy[-1])), costs
    if source.endswith(".toml"):
        deployment, model = read_deployment(source)
        if deployment.schedule.costs:
            return deployment, deployment.schedule.costs
    else:
        deployment, model = Deployment(model=source), open_model(source, rows_scale, seed)
    engine = compile(model, deployment.engine)
    progress.print(f"measuring what batches of {model.name} cost", style="dim")
    threads = deployment.schedule.threads_per_lane
    return deployment, engine_costs(engine, threads_per_lane=threads, seed=seed)


def _search(
    schedule: ScheduleConfig, kinds: list[Lanes], sizes: Sizes, sla: SLA,
    deadline_ns: int | None, seed: int, json: bool,
) -> bool:  # fmt: skip
    start = sum(kind.service.costs.capacity_qps(256, kind.count) for kind in kinds)
    config = SearchConfig(
        start_qps=start,
        min_qps=1e-3 * start,
        max_qps=100 * start,
        tolerance=0.01,
        runs=2,
        seed=seed,
    )
    found = simulated_qps_at_sla(
        schedule, sizes, sla, config, kinds, deadline_ns=deadline_ns,
        watch=lambda p: progress.print(f"  {p.rate_qps:10.0f} qps  {p.outcome}", style="dim"),
    )  # fmt: skip
    if json:
        print_json(found.to_record())
    else:
        lanes = " + ".join(str(kind.count) for kind in kinds)
        console.print(
            f"{found.low_qps:.0f} QPS at {sla} (simulated; {schedule.policy}, {lanes} lanes)"
        )
    return found.low_qps > 0


def _show(done: Simulated, qps: float, sla: SLA, out: Path | None, seed: int, json: bool) -> bool:
    summary = summarise(done.run, sla)
    if out:
        record = {"record": "load", "label": "simulated", "rate_qps": qps, "sla": str(sla),
                  "transport": "virtual time", "reasons": (), **done.run.to_record()}  # fmt: skip
        results.write(out, "load", [record], seed=seed)
        progress.print(f"wrote {out}", style="dim")
    figures: dict[str, Any] = {"utilisation": done.utilisation, **done.counts}
    if json:
        print_json({"origin": "simulated", **summary.to_record(), **figures})
    else:
        console.print(load_table([(f"{qps:g} qps offered", done.run)], origin="simulated"))
        console.print(f"lanes busy {done.utilisation:.1%}; {done.counts['batches']} batches, "
                      f"{done.counts['early']} refused early (simulated)")  # fmt: skip
    return summary.latency_ns[sla.percentile].value <= sla.limit_ns
