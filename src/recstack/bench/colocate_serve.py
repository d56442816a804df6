"""Models served side by side: QPS@SLA of each on a lane alone, and whether a placement holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from recstack import _native
from recstack.bench.placement import Placement
from recstack.data import random_batch
from recstack.engine.native import Engine
from recstack.errors import ConfigError
from recstack.loadtest import (
    SLA,
    Found,
    LoadResult,
    SearchConfig,
    make_queries,
    make_traffic,
    qps_at_sla,
)
from recstack.loadtest.calm import calm
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.sizes import Sizes
from recstack.loadtest.whole import drive_whole
from recstack.quantiles import quantile
from recstack.schedule import Dispatcher, ScheduleConfig
from recstack.types import Query

PER_SIZE = 4
BACK = 0.9
MOST_BACK = 8
LEAST = 0.2  # of the first rate; the queries of a run at lower ones take minutes to come


@dataclass(frozen=True, slots=True)
class Traffic:
    """What comes: sizes of queries, seconds of a run, seed."""

    sizes: Sizes
    seconds: float = 3.0
    most_queries: int = 20_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Verified:
    """A placement as it ran: the rates at which every model met its SLA (measured), and each
    model's percentile there; scale 0 where no rate that was tried held."""

    scale: float
    qps: Mapping[str, float]
    tail_ms: Mapping[str, float]


def alone_qps(
    engine: Engine, core: int, sla: SLA, traffic: Traffic, start_qps: float, runs: int = 2
) -> Found:
    """A model's QPS@SLA on a lane of one core with nothing beside it; 0 where a small share of
    `start_qps`, which the lane works off with ease, misses the SLA."""
    config = SearchConfig(
        start_qps=start_qps, min_qps=LEAST * start_qps, max_qps=1e3 * start_qps, tolerance=0.05,
        confidence=0.9, runs=runs, probes=16, seed=traffic.seed,
    )  # fmt: skip
    with _serving(engine, [core]) as dispatcher:
        return qps_at_sla(
            lambda qps, seed: _run(dispatcher, engine, qps, sla, traffic, seed), sla, config
        )


def verify(
    placement: Placement,
    engines: Mapping[str, Engine],
    slas: Mapping[str, SLA],
    cores: Sequence[int],
    traffic: Traffic,
    watch: Callable[[str], None] = lambda text: None,
) -> Verified:
    """Run all models of a placement at once at its rates, and at less until all meet their SLAs;
    on the way at the demand itself, where the placement promises more.

    A model has one dispatcher with a lane on each of its cores. Raises ConfigError for fewer cores
    than lanes.
    """
    if len(cores) < len(placement.lanes):
        raise ConfigError(f"expected {len(placement.lanes)} cores, got {len(cores)}")
    with ExitStack() as stack:
        dispatchers = {
            m: stack.enter_context(_serving(engines[m], [cores[i] for i in placement.lanes_of(m)]))
            for m in placement.qps
        }
        for attempt, factor in enumerate(_factors(placement.scale)):
            rates = {m: factor * qps for m, qps in placement.qps.items()}
            tails = _all_at_once(dispatchers, engines, rates, slas, traffic, attempt)
            missed = [m for m, tail in tails.items() if tail > slas[m].limit_ns]
            watch(f"{factor:.2f} of the modelled rates: {', '.join(missed) or 'none'} missed")
            if not missed:
                return Verified(
                    factor * placement.scale, rates, {m: t / 1e6 for m, t in tails.items()}
                )
    return Verified(0.0, dict.fromkeys(rates, 0.0), {m: t / 1e6 for m, t in tails.items()})


def _factors(scale: float) -> list[float]:
    """Of the modelled rates; at 1 / scale they are the demand.

    >>> [round(f, 3) for f in _factors(1.15)][:3]
    [1.0, 0.9, 0.87]
    """
    down = {BACK**k for k in range(MOST_BACK + 1)}
    demand = {1.0 / scale} if min(down) < 1.0 / scale < 1.0 else set()
    return sorted(down | demand, reverse=True)


def _all_at_once(
    dispatchers: Mapping[str, Dispatcher],
    engines: Mapping[str, Engine],
    rates: Mapping[str, float],
    slas: Mapping[str, SLA],
    traffic: Traffic,
    attempt: int,
) -> dict[str, float]:
    """The percentile of each model, ns, when all are loaded."""
    found: dict[str, float] = {}

    def load(model: str) -> None:
        seed = traffic.seed + 1000 * attempt
        run = _run(dispatchers[model], engines[model], rates[model], slas[model], traffic, seed)
        found[model] = quantile(latencies_ns(run), slas[model].percentile / 100.0).value

    threads = [threading.Thread(target=load, args=(model,)) for model in rates]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if missing := set(rates) - set(found):
        raise ConfigError(f"expected a run of every model, got none of {', '.join(missing)}")
    return found


def _run(
    dispatcher: Dispatcher, engine: Engine, qps: float, sla: SLA, traffic: Traffic, seed: int
) -> LoadResult:
    count = int(min(max(qps * traffic.seconds, 50), traffic.most_queries))
    plan = make_traffic(qps, count, seed=seed, distribution=traffic.sizes)
    queries = make_queries(
        lambda index, rows: Query(index, random_batch(engine.model, rows, index)),
        plan.rows,
        per_size=PER_SIZE,
    )
    return drive_whole(
        dispatcher, queries, plan.scheduled_ns,
        lead_ns=20_000_000, deadline_ns=sla.hopeless_ns, drain_ns=sla.hopeless_ns + 10**9,
    )  # fmt: skip


@contextmanager
def _serving(engine: Engine, cores: Sequence[int]) -> Iterator[Dispatcher]:
    schedule = ScheduleConfig(
        lanes=len(cores), cores=tuple((core,) for core in cores), chunk_rows=256, merge_rows=0,
        spin_us=0.0,
    )  # fmt: skip
    dispatcher = Dispatcher(_native.TeamFactory(engine.program, 1), schedule)
    try:
        with calm(0.001):
            yield dispatcher
    finally:
        dispatcher.close(drain=False)
