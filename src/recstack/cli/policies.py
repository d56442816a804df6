"""`--policies` of `simulate` and `load`: the same traffic under each, for `recstack report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from recstack import results
from recstack.cli.output import console, print_json, progress, table
from recstack.engine import Engine, HybridEngine
from recstack.errors import ConfigError
from recstack.loadtest import (
    SLA,
    DriverConfig,
    LoadResult,
    Traffic,
    drive,
    make_queries,
    make_traffic,
)
from recstack.loadtest.sizes import Sizes
from recstack.loadtest.timeline import timeline_record
from recstack.report.compared import of_best
from recstack.schedule import AcceleratorConfig, Costs, ScheduleConfig
from recstack.simulate import simulate
from recstack.tune import random_queries, start, trace_schedule
from recstack.tune.live import null_record
from recstack.tune.policies import POLICIES, compare, traced
from recstack.tune.setting import Setting
from recstack.tune.timeline import lane_kinds

KIND = "policies"
TRACED_QUERIES, TRACED_CHUNKS = 300, 20_000
SIMULATED_WARMUP = 0.05
PoliciesOption = Annotated[
    str | None,
    typer.Option(help=f"Compare policies instead, comma-separated: {','.join(POLICIES)}, or all."),
]
ScalesText = Annotated[
    str, typer.Option(help="With --policies: factors on the SLA's limit, such as 0.5,1,1.5.")
]


def simulated_setting(
    costs: Costs, lanes: int, sizes: Sizes, *, accelerator: AcceleratorConfig | None = None,
    seed: int = 0, **key: Any,
) -> Setting:  # fmt: skip
    """Virtual time, the first twentieth of each run left out: lanes start with nothing to do, and
    a search runs the same share of the same arrivals at every rate. key: what records say of it."""

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        warmup = int(SIMULATED_WARMUP * traffic.rows.size)
        return simulate(schedule, traffic, deadline_ns=deadline_ns, warmup=warmup, seed=seed).run

    def trace(
        schedule: ScheduleConfig, qps: float, deadline_ns: int | None, label: str
    ) -> dict[str, Any]:
        traffic = make_traffic(qps, TRACED_QUERIES, seed=seed, distribution=sizes)
        done = simulate(
            schedule, traffic, deadline_ns=deadline_ns, seed=seed, trace_chunks=TRACED_CHUNKS
        )
        return timeline_record(done.run, done.chunks, lane_kinds(schedule), label=label)

    return Setting(
        "simulated", lanes, costs, sizes, costs.capacity_qps(_mean_rows(sizes), lanes), run, trace,
        tolerance=0.01, span=60.0, least_s=0.0, least=20_000, most=200_000, key=key, seed=seed,
        accelerator=accelerator,
    )  # fmt: skip


def live_setting(
    engine: Engine | HybridEngine, costs: Costs, lanes: int, sizes: Sizes, /, *,
    indices: str = "uniform", seed: int = 0, **key: Any,
) -> Setting:  # fmt: skip
    """This machine's lanes, in process; the driver finds where a run's warm-up ends. key: what
    records say of it."""
    factory = random_queries(engine.model, seed, indices)

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        dispatcher = start(engine, schedule)
        try:
            queries = make_queries(factory, traffic.rows)
            config = DriverConfig(deadline_ns=deadline_ns)
            return drive(dispatcher, queries, traffic.scheduled_ns, config=config)
        finally:
            dispatcher.close(drain=False)

    def trace(
        schedule: ScheduleConfig, qps: float, deadline_ns: int | None, label: str
    ) -> dict[str, Any]:
        return trace_schedule(
            engine, schedule, factory, sizes, qps, label=label, queries=TRACED_QUERIES,
            deadline_ns=deadline_ns, seed=seed,
        )  # fmt: skip

    return Setting(
        "measured", lanes, costs, sizes, costs.capacity_qps(_mean_rows(sizes), lanes), run, trace,
        tolerance=0.03, span=10.0, least_s=1.3, least=200, most=20_000, key=key, seed=seed,
        expected=simulated_setting(costs, lanes, sizes, seed=seed),
    )  # fmt: skip


def compare_policies(
    setting: Setting, policies: str, sla: SLA, scales: str, out: Path | None, json: bool
) -> bool:
    """Every policy under every SLA, then a trace under the middle one; True if all found a rate.

    out: result file, rewritten after each.
    """
    names = POLICIES if policies == "all" else tuple(policies.split(","))
    if unknown := set(names) - set(POLICIES):
        raise ConfigError(f"expected --policies {','.join(POLICIES)}, got {unknown.pop()!r}")
    records: list[dict[str, Any]] = []

    def keep(new: Sequence[dict[str, Any]]) -> None:
        records.extend(new)
        if out:
            results.write(out, KIND, records, seed=setting.seed)

    limits = [scaled(sla, factor) for factor in sorted(factors(scales))]
    for limit in limits:
        progress.print(f"{', '.join(names)}, {limit}", style="dim")
        for made in compare(setting, names, limit, watch=_watch):
            keep(made)
    keep(list(traced(setting, records, limits[len(limits) // 2])))
    if setting.origin == "measured":
        rates = [r["low_qps"] for r in records if r["record"] == "qps_at_sla"]
        keep([null_record(max(rates, default=0.0))])
    if out:
        progress.print(f"wrote {out}", style="dim")
    found = [r for r in records if r["record"] == "qps_at_sla"]
    if json:
        print_json([r for r in records if r["record"] != "timeline"])
    else:
        _show(setting, found, [r for r in records if r["record"] == "at_load"])
    return all(r["low_qps"] > 0 for r in found)


def factors(text: str) -> list[float]:
    """Positive factors, comma-separated. Raises ConfigError."""
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(0 < f < 1000 for f in found):
        raise ConfigError(f"expected --sla-scale FACTOR[,FACTOR...], each above 0, got {text!r}")
    return found


def scaled(sla: SLA, factor: float) -> SLA:
    """The SLA with a limit so many times as long."""
    return SLA(sla.percentile, round(sla.limit_ns * factor))


def _show(setting: Setting, found: list[dict[str, Any]], loads: list[dict[str, Any]]) -> None:
    rows = []
    for f in found:
        own = [r for r in loads if (r["policy"], r["sla"]) == (f["policy"], f["sla"])]
        kept = of_best({r["of_qps_at_sla"]: r["goodput_qps"] for r in own})
        overload = [f"{kept[s]:.2f}" if s in kept else "-" for s in (1.2, 2.0)]
        refused = next((f"{r['refused']:.1%}" for r in own if r["of_qps_at_sla"] == 1.0), "-")
        high = "" if f["high_qps"] is None else f"{f['high_qps']:.0f}"
        bracket = f"{f['low_qps']:.0f}..{high}"
        chunk = "-" if f["policy"] == "slack" else str(f["chunk_rows"])
        rows.append((f["sla"], f["policy"], bracket, chunk, refused, *overload))
    heads = ("SLA", "policy", "QPS@SLA", "chunk", "refused", "goodput 1.2x", "2x")
    title = f"Policies on {setting.lanes} lanes ({setting.origin}; goodput of the best so far)"
    console.print(table(title, heads, rows))
    for f in found:
        for reason in f["reasons"]:
            console.print(f"{f['sla']} {f['policy']}: {reason}", style="yellow", soft_wrap=True)


def _watch(probe: Any) -> None:
    progress.print(f"  {probe.rate_qps:10.0f} qps  {probe.outcome}", style="dim")


def _mean_rows(sizes: Sizes) -> float:
    return float(sizes.sample(10_000, np.random.default_rng(0)).mean())
