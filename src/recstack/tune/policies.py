"""Policies put to the same traffic: QPS@SLA of each, and what becomes of queries around that rate.

    static        fixed chunks of largest query / lanes
    deeprecsched  fixed chunks, doubled while the QPS@SLA does not fall (Gupta et al., ISCA 2020)
    slack         chunks, merging, order and refusals by slack and backlog

The first two also serve what is late, up to `LATE` limits late; slack refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from recstack.errors import ConfigError
from recstack.loadtest import (
    SLA,
    Found,
    LoadResult,
    SearchConfig,
    Traffic,
    make_traffic,
    qps_at_sla,
    summarise,
)
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.outcome import OK
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import Costs, ScheduleConfig, climb_chunk_rows, static_chunk_rows
from recstack.types import Origin

POLICIES = ("static", "deeprecsched", "slack")
OFFERED = (0.4, 0.8, 1.0, 1.2, 2.0)
"""Loads to look at, as shares of a policy's QPS@SLA."""
LATE = 10
FEWEST = 50
Run = Callable[[ScheduleConfig, Traffic, int | None], LoadResult]
Trace = Callable[[ScheduleConfig, float, int | None, str], dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """Where policies are compared: lanes of this machine, or simulated ones.

    run: traffic under a schedule; queries have a deadline so many ns after their arrival, or none.
    trace: a short run under a schedule at a rate, with such deadlines; a record with this label.
    capacity_qps: a guess at the highest rate, to begin searches from.
    largest_rows: the largest query; climb_from: rows of the first chunk of deeprecsched.
    span: length of a run in limits of the SLA, so that a queue that grows is seen to; least, most:
        its queries, where `longest_s` seconds of schedule have as many.
    tolerance, runs, seed: of searches.
    key: what records say of it all, such as model and engine.
    """

    origin: Origin
    lanes: int
    costs: Costs
    sizes: Sizes
    capacity_qps: float
    run: Run
    trace: Trace
    tolerance: float
    span: float
    least: int
    most: int
    longest_s: float
    key: dict[str, Any]
    runs: int = 3
    largest_rows: int = 1000
    climb_from: int = 16
    seed: int = 0

    def schedule(self, policy: str, chunk_rows: int, sla: SLA) -> ScheduleConfig:
        """Of one policy."""
        return ScheduleConfig(
            lanes=self.lanes, policy="slack" if policy == "slack" else "fixed",
            chunk_rows=chunk_rows, merge_rows=0, costs=self.costs, target_ms=sla.limit_ms,
            queue_queries=1 << 16, queue_rows=1 << 40,
        )  # fmt: skip

    def run_at(self, schedule: ScheduleConfig, qps: float, sla: SLA, seed: int) -> LoadResult:
        """Traffic at a rate."""
        wanted = np.clip(self.span * qps * sla.limit_ns / 1e9, self.least, self.most)
        count = max(int(min(wanted, qps * self.longest_s)), FEWEST)
        traffic = make_traffic(qps, count, seed=seed, distribution=self.sizes)
        return self.run(schedule, traffic, deadline_ns(schedule, sla))


def deadline_ns(schedule: ScheduleConfig, sla: SLA) -> int | None:
    """When a query is given up; None: the policy decides."""
    return None if schedule.policy == "slack" else LATE * sla.limit_ns


def compare(
    setting: Setting,
    policy: str,
    sla: SLA,
    *,
    watch: Callable[[Probe], None] = lambda probe: None,
) -> Iterator[dict[str, Any]]:
    """A policy's records: one of the sort "qps_at_sla", then an "at_load" for each of `OFFERED`.

    Raises
    ------
    ConfigError: no such policy.
    """
    if policy not in POLICIES:
        raise ConfigError(f"expected a policy of {', '.join(POLICIES)}, got {policy!r}")
    found, schedule, steps = _search(setting, policy, sla, watch)
    key = {
        **setting.key, "label": f"{policy}, {setting.lanes} lanes", "policy": policy,
        "lanes": setting.lanes,
    }  # fmt: skip
    yield {
        "record": "qps_at_sla", **found.to_record(), **key, "chunk_rows": schedule.chunk_rows,
        "steps": steps, "deployment": {"schedule": schedule.model_dump(exclude={"costs"})},
    }  # fmt: skip
    if found.low_qps > 0:
        for share in OFFERED:
            run = setting.run_at(schedule, share * found.low_qps, sla, setting.seed)
            yield {
                "record": "at_load", **at_load(run, share * found.low_qps, sla), **key,
                "sla": str(sla), "of_qps_at_sla": share,
            }  # fmt: skip


def at_load(run: LoadResult, rate_qps: float, sla: SLA) -> dict[str, Any]:
    """What became of queries that came at `rate_qps`, warm-up left out.

    goodput_qps, goodput_rows: queries, and their rows, answered in time, per second of the rate
        offered. refused: the share not answered. longest_refusal_ms: from arrival to refusal.
    """
    in_time = latencies_ns(run) <= sla.limit_ns
    rows = run.rows[run.warmup :]
    refused = (run.status != OK)[run.warmup :]
    waited_ns = (run.finished_ns - run.scheduled_ns)[run.warmup :][refused]
    return {
        **summarise(run, sla).to_record(),
        "rate_qps": rate_qps,
        "goodput_qps": float(in_time.mean() * rate_qps),
        "goodput_rows": float(rows[in_time].sum() / rows.size * rate_qps),
        "refused": float(refused.mean()),
        "longest_refusal_ms": float(waited_ns.max(initial=0) / 1e6),
    }


def traced(setting: Setting, records: list[dict[str, Any]], sla: SLA) -> Iterator[dict[str, Any]]:
    """What lanes ran under each policy of `records`, all at the least of their rates at `sla`."""
    found = [r for r in records if r["record"] == "qps_at_sla" and r["sla"] == str(sla)]
    rates = [r["low_qps"] for r in found if r["low_qps"] > 0]
    for record in found if rates else ():
        schedule = setting.schedule(record["policy"], record["chunk_rows"], sla)
        label = f"{record['policy']}, {min(rates):.4g} queries/s, {sla}"
        made = setting.trace(schedule, min(rates), deadline_ns(schedule, sla), label)
        yield {**made, **setting.key, "policy": record["policy"]}


def _search(
    setting: Setting, policy: str, sla: SLA, watch: Callable[[Probe], None]
) -> tuple[Found, ScheduleConfig, tuple[tuple[int, float], ...]]:
    """The policy's QPS@SLA, its schedule, and the chunk sizes that it tried."""
    made: dict[int, tuple[Found, ScheduleConfig]] = {}
    start_qps = 0.8 * setting.capacity_qps
    config = SearchConfig(
        start_qps=start_qps, min_qps=0.02 * start_qps, max_qps=10 * start_qps,
        tolerance=setting.tolerance, runs=setting.runs, seed=setting.seed,
    )  # fmt: skip

    def measure(chunk_rows: int) -> float:
        schedule = setting.schedule(policy, chunk_rows, sla)
        found = qps_at_sla(
            lambda qps, seed: setting.run_at(schedule, qps, sla, seed),
            sla, config, origin=setting.origin, watch=watch,
        )  # fmt: skip
        made[chunk_rows] = found, schedule
        return found.low_qps

    if policy == "deeprecsched":
        climb = climb_chunk_rows(
            measure, start=setting.climb_from, largest_rows=setting.largest_rows
        )
        return *made[climb.chunk_rows], climb.steps
    chunk_rows = static_chunk_rows(setting.largest_rows, setting.lanes)
    measure(chunk_rows)
    return *made[chunk_rows], ()
