"""Where policies are compared, and the search of one policy alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from recstack.loadtest import (
    SLA,
    Found,
    LoadResult,
    SearchConfig,
    Traffic,
    make_traffic,
    qps_at_sla,
)
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import (
    AcceleratorConfig,
    Costs,
    ScheduleConfig,
    deeprecsched,
    static_chunk_rows,
)
from recstack.tune.climb import Step
from recstack.tune.queries import largest_rows
from recstack.types import Origin

Run = Callable[[ScheduleConfig, Traffic, int | None], LoadResult]
Trace = Callable[[ScheduleConfig, float, int | None, str], dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """Where policies are compared: lanes of this machine, or simulated ones.

    run: traffic under a schedule; queries have a deadline so many ns after their arrival, or none.
    trace: a short run under a schedule at a rate, with such deadlines; a record with this label.
    capacity_qps: a guess at the highest rate, to begin searches from.
    climb_from: rows of the first chunk of deeprecsched, where it is not climbed live.
    span: length of a run in limits of the SLA, so that a queue that grows is seen to, at least
        `least_s` seconds; least, most: its queries.
    accelerator: lanes beside these ones, for the policies that know of them.
    expected: its simulated twin, for a machine whose speed drifts: deeprecsched is then climbed
        live, from static's chunk by way of the twin's; after that, the policies are probed in turns
        with fresh random numbers, so that no rate is one that was chosen for its luck.
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
    least_s: float
    least: int
    most: int
    key: dict[str, Any]
    runs: int = 3
    climb_from: int = 16
    seed: int = 0
    accelerator: AcceleratorConfig | None = None
    expected: Setting | None = None

    @cached_property
    def largest_rows(self) -> int:
        """The largest query."""
        return largest_rows(self.sizes)

    def schedule(self, policy: str, chunk_rows: int, sla: SLA) -> ScheduleConfig:
        """Of one policy."""
        return ScheduleConfig(
            lanes=self.lanes, policy="slack" if policy == "slack" else "fixed",
            chunk_rows=chunk_rows, merge_rows=0, costs=self.costs, target_ms=sla.limit_ms,
            queue_queries=1 << 16, queue_rows=1 << 40,
            accelerator=None if policy == "static" else self.accelerator,
        )  # fmt: skip

    def run_at(self, schedule: ScheduleConfig, qps: float, sla: SLA, seed: int) -> LoadResult:
        """Traffic at a rate."""
        span_s = max(self.span * sla.limit_ns / 1e9, self.least_s)
        count = int(np.clip(qps * span_s, self.least, self.most))
        traffic = make_traffic(qps, count, seed=seed, distribution=self.sizes)
        return self.run(schedule, traffic, deadline_ns(schedule, sla))

    def search(self, start_qps: float, factor: float = 2.0) -> SearchConfig:
        """From a predicted rate; less than a fifth of it counts as none."""
        return SearchConfig(
            start_qps=start_qps, min_qps=0.2 * start_qps, max_qps=10 * start_qps, factor=factor,
            tolerance=self.tolerance, runs=self.runs, seed=self.seed,
        )  # fmt: skip


def deadline_ns(schedule: ScheduleConfig, sla: SLA) -> int:
    """When a query is given up, since its scheduled time."""
    return sla.limit_ns if schedule.policy == "slack" else sla.hopeless_ns


@dataclass(frozen=True, slots=True)
class Searched:
    """A policy's QPS@SLA, its schedule there, and the (chunk rows, QPS) that it climbed over, or
    the steps of a live climb."""

    found: Found
    schedule: ScheduleConfig
    steps: tuple[tuple[int, float], ...] = ()
    climb: tuple[Step, ...] = ()


def schedule_of(setting: Setting, record: dict[str, Any], sla: SLA) -> ScheduleConfig:
    """The schedule that a record says its policy ended with."""
    schedule = setting.schedule(record["policy"], record["chunk_rows"], sla)
    device = record.get("deployment", {}).get("schedule", {}).get("accelerator")
    if device is None or schedule.accelerator is None:
        return schedule.model_copy(update={"accelerator": None})
    rows = {"threshold_rows": device["threshold_rows"]}
    return schedule.model_copy(update={"accelerator": schedule.accelerator.model_copy(update=rows)})


def search_alone(
    setting: Setting, policy: str, sla: SLA, watch: Callable[[Probe], None]
) -> Searched:
    """One policy after its own chunk and, where there is an accelerator, its own threshold."""
    made: dict[str, Found] = {}
    config = setting.search(0.8 * setting.capacity_qps)

    def find(schedule: ScheduleConfig) -> float:
        found = qps_at_sla(
            lambda qps, seed: setting.run_at(schedule, qps, sla, seed),
            sla, config, origin=setting.origin, watch=watch,
        )  # fmt: skip
        made[schedule.model_dump_json(exclude={"costs"})] = found
        return found.low_qps

    chunk_rows = static_chunk_rows(setting.largest_rows, setting.lanes)
    schedule = setting.schedule(policy, chunk_rows, sla)
    steps: tuple[tuple[int, float], ...] = ()
    if policy == "deeprecsched":
        climbed = deeprecsched(
            find, schedule, start=setting.climb_from, largest_rows=setting.largest_rows,
            tolerance=2 * setting.tolerance,
        )  # fmt: skip
        schedule, steps = climbed.schedule, climbed.chunk.steps
    else:
        find(schedule)
    return Searched(made[schedule.model_dump_json(exclude={"costs"})], schedule, steps)
