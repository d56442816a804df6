"""Policies on a live machine: a climb, then probes of all in turns.

A machine that drifts drifts for all, and random numbers are fresh after the climb, so that no rate
is one that was chosen for its luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from recstack.loadtest import SLA, Found, LoadResult, judge
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.search import FRESH, Probe, Search
from recstack.loadtest.verdict import late_generator
from recstack.schedule import ScheduleConfig, static_chunk_rows
from recstack.tune.climb import LiveClimb, Step, climb_live
from recstack.tune.setting import Searched, Setting, schedule_of, search_alone

MEDIAN_CONFIDENCE = 0.5
"""Of a probe by the median of runs: at a rate whose runs mostly miss the limit, the median passes
less than half the time; no more can be said of three runs."""
ROUGH = 0.1
"""Tolerance of the rate at which a live climb compares."""
LEAST_SHARE = 0.2
"""Of the capacity: where a live search begins when the simulator predicts no rate at all; at lower
ones the queries of a run take minutes to come."""


def climb_and_search(
    setting: Setting, expected: Setting, policies: Sequence[str], sla: SLA,
    watch: Callable[[Probe], None],
) -> Iterator[tuple[str, Searched]]:  # fmt: skip
    """The live climb of deeprecsched, then all policies with fresh random numbers."""
    predicted = {p: search_alone(expected, p, sla, lambda probe: None) for p in policies}
    least_qps = LEAST_SHARE * setting.capacity_qps
    starts = {p: max(0.9 * made.found.low_qps, least_qps) for p, made in predicted.items()}
    schedules = {p: made.schedule for p, made in predicted.items()}
    steps: tuple[Step, ...] = ()
    if climber := predicted.get("deeprecsched"):
        climbed = _climb(setting, climber.schedule, starts["deeprecsched"], sla, watch)
        steps = climbed.steps
        schedules["deeprecsched"] = _with_chunk(climber.schedule, climbed.rows)
        starts["deeprecsched"] = climbed.qps
        if "static" in starts and climbed.start_qps:
            starts["static"] = climbed.start_qps
    fresh = replace(setting, seed=setting.seed + FRESH)
    for policy, found in search_in_turns(fresh, schedules, starts, sla, watch).items():
        own = steps if policy == "deeprecsched" else ()
        yield policy, Searched(found, schedules[policy], climb=own)


def _climb(
    setting: Setting, schedule: ScheduleConfig, guess_qps: float, sla: SLA,
    watch: Callable[[Probe], None],
) -> LiveClimb:  # fmt: skip
    """From static's chunk, by way of the one that `schedule` has."""

    def run(rows: int, qps: float, seed: int) -> LoadResult:
        return setting.run_at(_with_chunk(schedule, rows), qps, sla, seed)

    def find(rows: int, qps: float) -> float:
        chunk, config = _with_chunk(schedule, rows), setting.search(qps, factor=1.15)
        search = Search(replace(config, tolerance=ROUGH))
        while (rate := search.next_rate()) is not None:
            search.tell(median_probe(setting, chunk, rate, sla))
            watch(search.found(sla).probes[-1])
        return search.found(sla).low_qps

    return climb_live(
        run, find, sla, start=static_chunk_rows(setting.largest_rows, setting.lanes),
        predicted=schedule.chunk_rows, largest_rows=setting.largest_rows, guess_qps=guess_qps,
        seed=setting.seed,
    )  # fmt: skip


def _with_chunk(schedule: ScheduleConfig, rows: int) -> ScheduleConfig:
    return schedule.model_copy(update={"chunk_rows": rows})


def search_in_turns(
    setting: Setting, schedules: Mapping[str, ScheduleConfig], starts: Mapping[str, float],
    sla: SLA, watch: Callable[[Probe], None] = lambda probe: None,
) -> dict[str, Found]:  # fmt: skip
    """One probe of each schedule after the other, so that a machine that drifts drifts for all.

    Two that are the same are searched once. starts: the first rate of each.
    """
    same = {p: next(o for o, s in schedules.items() if s == own) for p, own in schedules.items()}
    searches = {
        p: Search(replace(setting.search(starts[p], factor=1.15), confidence=MEDIAN_CONFIDENCE))
        for p in dict.fromkeys(same.values())
    }
    rates = {p: search.next_rate() for p, search in searches.items()}
    while any(rates.values()):
        for policy, qps in rates.items():
            if qps is not None:
                probe = median_probe(setting, schedules[policy], qps, sla)
                watch(probe)
                searches[policy].tell(probe)
                rates[policy] = searches[policy].next_rate()
    return {p: searches[first].found(sla, setting.origin) for p, first in same.items()}


def search_twice(
    setting: Setting, records: Sequence[dict[str, Any]], sla: SLA
) -> dict[str, tuple[float, float]]:
    """QPS@SLA of the policies of some "qps_at_sla" records, two more times, each with fresh random
    numbers: do two searches of the same schedules agree?"""
    schedules = {r["policy"]: schedule_of(setting, r, sla) for r in records}
    starts = {r["policy"]: float(r["low_qps"]) for r in records}
    first, second = (
        search_in_turns(replace(setting, seed=setting.seed + k * FRESH), schedules, starts, sla)
        for k in (2, 3)
    )
    return {policy: (first[policy].low_qps, second[policy].low_qps) for policy in schedules}


def median_probe(setting: Setting, schedule: ScheduleConfig, qps: float, sla: SLA) -> Probe:
    """A rate by the median over runs of the share of queries past the limit.

    A run over the limit whose generator was late shows nothing of the system and is left out;
    "invalid" where most are. reason: how it was decided, and why the run in the middle, of a rate
    that passes, may not be quoted (`loadtest.judge`).
    """
    shares: list[tuple[float, int, LoadResult]] = []
    late: list[str] = []
    for seed in range(setting.seed, setting.seed + setting.runs):
        run = setting.run_at(schedule, qps, sla, seed)
        over = float((latencies_ns(run) > sla.limit_ns).mean())
        if over > sla.allowed and (reason := late_generator(run, sla)):
            late.append(reason)
        else:
            shares.append((over, seed, run))
    if 2 * len(shares) <= setting.runs:
        return Probe(qps, "invalid", 0, 0, setting.runs, 1.0, f"INVALID: {late[0]}")
    share, _, middle = sorted(shares)[len(shares) // 2]
    passed = share <= sla.allowed
    queries = middle.queries - middle.warmup
    verdict = judge(middle, sla)
    told = f"; {verdict}" if passed and not verdict.valid else ""
    return Probe(
        qps, "pass" if passed else "fail", round(share * queries), queries, len(shares), 1.0,
        f"median of runs{told}",
    )  # fmt: skip
