"""Policies put to the same traffic: QPS@SLA of each, and what becomes of queries around that rate.

    static        fixed chunks of largest query / lanes
    deeprecsched  fixed chunks, doubled while the QPS@SLA does not fall (Gupta et al., ISCA 2020)
    slack         chunks, merging, order and refusals by slack and backlog

The first two also serve what is late, up to ten limits late; slack refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

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
from recstack.loadtest.search import Probe, Search
from recstack.loadtest.sizes import Sizes
from recstack.schedule import (
    AcceleratorConfig,
    Costs,
    ScheduleConfig,
    deeprecsched,
    static_chunk_rows,
)
from recstack.types import Origin

POLICIES = ("static", "deeprecsched", "slack")
OFFERED = (0.4, 0.8, 1.0, 1.2, 2.0)
"""Loads to look at, as shares of a policy's QPS@SLA."""
LEAST_SHARE = 0.2
"""Of the capacity: where a live search begins when the simulator predicts no rate at all; at lower
ones the queries of a run take minutes to come."""
Run = Callable[[ScheduleConfig, Traffic, int | None], LoadResult]
Trace = Callable[[ScheduleConfig, float, int | None, str], dict[str, Any]]


@dataclass(frozen=True)
class Setting:
    """Where policies are compared: lanes of this machine, or simulated ones.

    run: traffic under a schedule; queries have a deadline so many ns after their arrival, or none.
    trace: a short run under a schedule at a rate, with such deadlines; a record with this label.
    capacity_qps: a guess at the highest rate, to begin searches from.
    largest_rows: the largest query; climb_from: rows of the first chunk of deeprecsched.
    span: length of a run in limits of the SLA, so that a queue that grows is seen to, at least
        `least_s` seconds; least, most: its queries.
    accelerator: lanes beside these ones, for the policies that know of them.
    expected: its simulated twin, for a machine whose speed drifts: the policies are then probed in
        turns, from what the twin predicts, with the chunks that the twin has climbed; where such a
        chunk turns out slower than static's, deeprecsched stays at that one.
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
    largest_rows: int = 1000
    climb_from: int = 16
    seed: int = 0
    accelerator: AcceleratorConfig | None = None
    expected: Setting | None = None

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
    """A policy's QPS@SLA, its schedule there, and the (chunk rows, QPS) that it climbed over."""

    found: Found
    schedule: ScheduleConfig
    steps: tuple[tuple[int, float], ...] = ()


def compare(
    setting: Setting,
    policies: Sequence[str],
    sla: SLA,
    *,
    watch: Callable[[Probe], None] = lambda probe: None,
) -> Iterator[list[dict[str, Any]]]:
    """Each policy's records: one of the sort "qps_at_sla", then an "at_load" for each of `OFFERED`.

    Raises
    ------
    ConfigError: no such policy.
    """
    if unknown := [policy for policy in policies if policy not in POLICIES]:
        raise ConfigError(f"expected a policy of {', '.join(POLICIES)}, got {unknown[0]!r}")
    if setting.expected:
        searched = _in_turns(setting, setting.expected, policies, sla, watch)
    else:
        searched = ((policy, _search(setting, policy, sla, watch)) for policy in policies)
    for policy, made in searched:
        yield list(_records(setting, policy, made, sla))


def _records(setting: Setting, policy: str, made: Searched, sla: SLA) -> Iterator[dict[str, Any]]:
    found, schedule = made.found, made.schedule
    key = {
        **setting.key, "label": f"{policy}, {setting.lanes} lanes", "policy": policy,
        "lanes": setting.lanes,
    }  # fmt: skip
    plain = schedule.model_dump(exclude={"costs": True, "accelerator": {"costs"}}, mode="json")
    yield {
        "record": "qps_at_sla", **found.to_record(), **key, "chunk_rows": schedule.chunk_rows,
        "steps": made.steps, "deployment": {"schedule": plain},
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
        schedule = _schedule_of(setting, record, sla)
        label = f"{record['policy']}, {min(rates):.4g} queries/s, {sla}"
        made = setting.trace(schedule, min(rates), deadline_ns(schedule, sla), label)
        yield {**made, **setting.key, "policy": record["policy"]}


def _schedule_of(setting: Setting, record: dict[str, Any], sla: SLA) -> ScheduleConfig:
    """The schedule that a record says its policy ended with."""
    schedule = setting.schedule(record["policy"], record["chunk_rows"], sla)
    device = record.get("deployment", {}).get("schedule", {}).get("accelerator")
    if device is None or schedule.accelerator is None:
        return schedule.model_copy(update={"accelerator": None})
    rows = {"threshold_rows": device["threshold_rows"]}
    return schedule.model_copy(update={"accelerator": schedule.accelerator.model_copy(update=rows)})


def _search(setting: Setting, policy: str, sla: SLA, watch: Callable[[Probe], None]) -> Searched:
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


def _in_turns(
    setting: Setting, expected: Setting, policies: Sequence[str], sla: SLA,
    watch: Callable[[Probe], None],
) -> Iterator[tuple[str, Searched]]:  # fmt: skip
    """One probe of each policy after the other, so that a machine that drifts drifts for all."""
    predicted = {p: _search(expected, p, sla, lambda probe: None) for p in policies}
    least_qps = LEAST_SHARE * setting.capacity_qps
    searches = {
        p: Search(setting.search(max(0.9 * predicted[p].found.low_qps, least_qps), factor=1.15))
        for p in policies
    }
    rates = {p: search.next_rate() for p, search in searches.items()}
    while any(rates.values()):
        for policy, qps in rates.items():
            if qps is not None:
                probe = median_probe(setting, predicted[policy].schedule, qps, sla)
                watch(probe)
                searches[policy].tell(probe)
                rates[policy] = searches[policy].next_rate()
    made = {
        policy: replace(predicted[policy], found=search.found(sla, setting.origin))
        for policy, search in searches.items()
    }
    for policy in made:
        yield policy, _climbed_live(made) if policy == "deeprecsched" else made[policy]


def _climbed_live(made: dict[str, Searched]) -> Searched:
    """Of static's chunk and the one climbed in simulation, the better as measured: no step down."""
    step = made["deeprecsched"]
    start = made.get("static", step)
    tried = tuple(dict.fromkeys((s.schedule.chunk_rows, s.found.low_qps) for s in (start, step)))
    return replace(max(start, step, key=lambda s: s.found.low_qps), steps=tried)


def median_probe(setting: Setting, schedule: ScheduleConfig, qps: float, sla: SLA) -> Probe:
    """A rate by the median over runs of the share of queries past the limit."""
    seeds = range(setting.seed, setting.seed + setting.runs)
    late = [latencies_ns(setting.run_at(schedule, qps, sla, seed)) > sla.limit_ns for seed in seeds]
    middle = sorted(late, key=np.mean)[len(late) // 2]
    outcome: Literal["pass", "fail"] = "pass" if middle.mean() <= sla.allowed else "fail"
    over = int(middle.sum())
    return Probe(qps, outcome, over, middle.size, setting.runs, 1.0, "median of runs")
