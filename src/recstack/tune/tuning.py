"""Finds the schedule with the highest QPS@SLA on this machine, few evaluations at a time.

The baseline is the static schedule of Gupta et al. (DeepRecSys, ISCA 2020): one lane per core and
chunks of largest query / lanes. From there, for each way to share the cores between lanes and
threads, chunk sizes are climbed by factors of two in both directions. A candidate is first put to
one probe, just above the best rate so far; only one that passes is searched in full.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from recstack.engine import Engine, HybridEngine
from recstack.loadtest import (
    SLA,
    DriverConfig,
    Found,
    LoadResult,
    SearchConfig,
    drive,
    make_queries,
    make_traffic,
    qps_at_sla,
)
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import ScheduleConfig, static_chunk_rows
from recstack.tune.deployment import start
from recstack.types import SUT, Query

QueryFactory = Callable[[int, int], Query]


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to tune.

    cores: cores to share out; None: all that this process may use.
    largest_rows: the largest query, which sets the static chunk.
    run_s: length of one run in seconds of schedule; min_queries, max_queries bound its count, and
        a run is never longer than four times this.
    min_qps, max_qps: the rates never to go beyond.
    tolerance, confidence, runs, probes: of each search (`recstack.loadtest.SearchConfig`).
    budget_s: no new probe is begun after this; None: no limit.
    seed: of traffic; the same for every candidate (common random numbers).
    """

    cores: int | None = None
    largest_rows: int = 1000
    run_s: float = 1.0
    min_queries: int = 500
    max_queries: int = 4000
    min_qps: float = 1.0
    max_qps: float = 1e5
    tolerance: float = 0.05
    confidence: float = 0.9
    runs: int = 2
    probes: int = 16
    budget_s: float | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """One schedule and what was found of it; `found.low_qps` is 0 for one that lost at once."""

    schedule: ScheduleConfig
    found: Found


@dataclass(frozen=True, slots=True)
class Tuned:
    """The baseline, the best, every trial in order, and whether the budget cut the search short."""

    baseline: Trial
    best: Trial
    trials: tuple[Trial, ...]
    complete: bool


def tune(
    engine: Engine | HybridEngine,
    factory: QueryFactory,
    sizes: Sizes,
    sla: SLA,
    config: TuneConfig | None = None,
    *,
    watch: Callable[[ScheduleConfig, Probe], None] = lambda schedule, probe: None,
) -> Tuned:
    """Search schedules for `engine` under traffic of `sizes` and the tail-latency target `sla`.

    Parameters
    ----------
    engine: its weights are shared by all lanes of every candidate.
    factory: makes query `index` of so many rows.
    watch: told of every probe, for progress.
    """
    config = config or TuneConfig()
    cores = config.cores or len(os.sched_getaffinity(0))
    until_s = math.inf if config.budget_s is None else time.monotonic() + config.budget_s
    search = _Search(engine, factory, sizes, sla, config, watch, until_s)
    chunk = static_chunk_rows(config.largest_rows, cores)
    static = ScheduleConfig(lanes=cores, chunk_rows=chunk, merge_rows=0)
    baseline = search.full(static, start_qps=0.5 * cores / search.service_s())
    trials, best = [baseline], baseline
    complete = True
    for candidate in _candidates(cores, chunk, config.largest_rows):
        climbing = True
        while climbing:
            if time.monotonic() > until_s:
                complete = False
                break
            trial = search.challenge(candidate, best)
            trials.append(trial)
            climbing = trial.found.low_qps > best.found.low_qps
            if climbing:
                best = trial
                candidate = _next(candidate, trials, config.largest_rows)
                climbing = candidate not in [t.schedule for t in trials]
    return Tuned(baseline, best, tuple(trials), complete)


def _candidates(cores: int, chunk: int, largest: int) -> Iterator[ScheduleConfig]:
    """Where climbs begin: every split of the cores, chunks both ways, and merging."""
    lanes = cores
    while lanes >= 1:
        base = ScheduleConfig(
            lanes=lanes, threads_per_lane=cores // lanes, chunk_rows=chunk, merge_rows=0
        )
        if lanes != cores:
            yield base
        for rows in (max(chunk // 2, 1), min(2 * chunk, largest)):
            yield base.model_copy(update={"chunk_rows": rows})
        yield base.model_copy(update={"merge_rows": min(chunk, 256)})
        lanes //= 2


def _next(winner: ScheduleConfig, trials: list[Trial], largest: int) -> ScheduleConfig:
    """One more step in the direction in which the winner was better."""
    others = [t.schedule for t in trials[:-1] if t.schedule.lanes == winner.lanes]
    up = any(o.chunk_rows < winner.chunk_rows for o in others) or not others
    rows = min(2 * winner.chunk_rows, largest) if up else max(winner.chunk_rows // 2, 1)
    return winner.model_copy(update={"chunk_rows": rows})


class _Search:
    """Measures schedules, all with the same traffic and the same queries."""

    def __init__(
        self,
        engine: Engine | HybridEngine,
        factory: QueryFactory,
        sizes: Sizes,
        sla: SLA,
        config: TuneConfig,
        watch: Callable[[ScheduleConfig, Probe], None],
        until_s: float,
    ) -> None:
        self._engine = engine
        self._factory = QueryPool(factory)
        self._sizes = sizes
        self._sla = sla
        self._config = config
        self._watch = watch
        self._until_s = until_s
        self._probes = SearchConfig(
            min_qps=config.min_qps,
            max_qps=config.max_qps,
            tolerance=config.tolerance,
            confidence=config.confidence,
            runs=config.runs,
            probes=config.probes,
            seed=config.seed,
        )

    def service_s(self) -> float:
        """Seconds that one core works on a query of the mean size; the fastest of a few runs."""
        rng = np.random.default_rng(self._config.seed)
        rows = max(int(self._sizes.sample(1000, rng).mean()), 1)
        batch = self._factory(0, rows).batch
        taken = []
        for _ in range(5):
            began = time.perf_counter()
            self._engine.run(batch)
            taken.append(time.perf_counter() - began)
        return min(taken)

    def full(self, schedule: ScheduleConfig, start_qps: float) -> Trial:
        """Search the rate of a schedule, from `start_qps` both ways."""
        low, high = self._config.min_qps, self._config.max_qps
        start_qps = min(max(start_qps, low), high)
        return self._run(schedule, replace(self._probes, start_qps=start_qps))

    def challenge(self, schedule: ScheduleConfig, best: Trial) -> Trial:
        """Search only above the best rate so far: one probe for a schedule that is no better."""
        rate = max(best.found.low_qps * (1 + self._config.tolerance), self._probes.min_qps)
        rate = min(rate, self._config.max_qps)
        return self._run(schedule, replace(self._probes, start_qps=rate, min_qps=rate))

    def _run(self, schedule: ScheduleConfig, search: SearchConfig) -> Trial:
        dispatcher = start(self._engine, schedule)
        try:
            found = qps_at_sla(
                lambda qps, seed: self._measure(dispatcher, qps, seed),
                self._sla,
                search,
                watch=lambda probe: self._watch(schedule, probe),
                go_on=lambda: time.monotonic() < self._until_s,
            )
        finally:
            dispatcher.close(drain=False)
        return Trial(schedule, found)

    def _measure(self, sut: SUT, qps: float, seed: int) -> LoadResult:
        config = self._config
        wanted = max(qps * config.run_s, min(config.min_queries, 4 * qps * config.run_s))
        count = int(min(max(wanted, 1), config.max_queries))
        traffic = make_traffic(qps, count, seed=seed, distribution=self._sizes)
        queries = make_queries(self._factory, traffic.rows)
        # What is over the limit by ten times is lost anyway: give up on it, so that a probe of a
        # hopeless rate ends soon.
        drain_ns = 10 * self._sla.limit_ns + 1_000_000_000
        deadline_ns = 10 * self._sla.limit_ns
        driver = DriverConfig(drain_ns=drain_ns, deadline_ns=deadline_ns)
        return drive(sut, queries, traffic.scheduled_ns, config=driver)


class QueryPool:
    """A query factory that makes at most `per_size` queries of each size and then repeats them."""

    def __init__(self, factory: QueryFactory, per_size: int = 4) -> None:
        self._factory = factory
        self._per_size = per_size
        self._made: dict[tuple[int, int], Query] = {}

    def __call__(self, index: int, rows: int) -> Query:
        """Query `index` of `rows` rows."""
        key = (index % self._per_size, rows)
        if key not in self._made:
            self._made[key] = self._factory(index, rows)
        return self._made[key]
