"""Simulated load runs: discrete events in C++ on the policies that the live dispatcher runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.errors import ConfigError
from recstack.loadtest import SLA, Found, LoadResult, SearchConfig, Traffic, make_traffic
from recstack.loadtest import qps_at_sla as search_qps
from recstack.loadtest.outcome import LOST
from recstack.loadtest.search import Probe
from recstack.loadtest.sizes import Sizes
from recstack.schedule import Costs, ScheduleConfig
from recstack.simulate.service import Service

MAX_LANES = 4096


@dataclass(frozen=True, slots=True)
class Lanes:
    """So many lanes of one kind, such as the cores of a socket or an accelerator."""

    count: int
    service: Service

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_LANES:
            raise ConfigError(f"expected 1 to {MAX_LANES} lanes, got {self.count}")


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A run and what its lanes did.

    run: origin "simulated"; its stages are queue (until the first chunk starts) and total.
    counts: batches, merged_batches, split_queries, early refusals, rows, busy_ns over all lanes.
    utilisation: the share of time that lanes were busy.
    chunks: (n, 6) int64, the first chunks that lanes ran, as many as were asked for; columns as of
        `recstack.loadtest.timeline`.
    """

    run: LoadResult
    counts: Mapping[str, int]
    utilisation: float
    chunks: NDArray[np.int64]


def simulate(
    schedule: ScheduleConfig,
    traffic: Traffic,
    lanes: Sequence[Lanes] = (),
    *,
    believed: Sequence[Costs] = (),
    deadline_ns: int | None = None,
    warmup: int = 0,
    seed: int = 0,
    trace_chunks: int = 0,
) -> Simulated:
    """Run traffic through a schedule's policy and queue in virtual time.

    Parameters
    ----------
    lanes: of each kind; those of the schedule when empty.
    believed: what the policy believes at first that each kind costs; the truth when empty.
    deadline_ns: of every query, since its arrival.
    warmup: leading queries that metrics leave out.
    seed: of the service times.
    trace_chunks: keep what lanes ran, up to so many chunks.

    Raises
    ------
    ConfigError: neither lanes nor all costs are given, or a warm-up that leaves no query.

    >>> one = ScheduleConfig(merge_rows=0)
    >>> traffic = Traffic(np.array([0, 10, 400]), np.array([1, 1, 1]))
    >>> simulate(one, traffic, [Lanes(1, Service.constant(100.0))]).run.finished_ns.tolist()
    [100, 200, 500]
    """
    if not lanes:
        lanes = lanes_of(schedule)
    n = traffic.rows.size
    if not 0 <= warmup < n:
        raise ConfigError(f"expected a warm-up shorter than {n} queries, got {warmup}")
    started, finished = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    status = np.full(n, LOST, np.uint8)
    chunks = np.empty((trace_chunks, 6), np.int64)
    counts = _native.simulate(
        schedule.native_policy(), [kind.service.kind(kind.count) for kind in lanes],
        [costs.curve() for costs in believed],
        np.ascontiguousarray(traffic.scheduled_ns), np.ascontiguousarray(traffic.rows),
        -1 if deadline_ns is None else deadline_ns,
        schedule.queue_queries, schedule.queue_rows, seed, started, finished, status, chunks,
    )  # fmt: skip
    run = LoadResult(
        scheduled_ns=traffic.scheduled_ns.copy(),
        issued_ns=traffic.scheduled_ns.copy(),
        finished_ns=finished,
        rows=traffic.rows.copy(),
        status=status,
        stages_ns=_stages(traffic.scheduled_ns, started, finished, status),
        warmup=warmup,
        origin="simulated",
    )
    span_ns = max(int(finished.max()) - int(traffic.scheduled_ns[0]), 1)
    busy = counts["busy_ns"] / (span_ns * sum(kind.count for kind in lanes))
    return Simulated(run, counts, busy, chunks[: counts.pop("traced")])


def lanes_of(schedule: ScheduleConfig) -> list[Lanes]:
    """A schedule's lanes, on cores and on its accelerator; ConfigError where it lacks costs."""
    wanted = [(schedule.lanes, schedule.costs)]
    if schedule.accelerator:
        wanted.append((schedule.accelerator.lanes, schedule.accelerator.costs))
    kinds = [Lanes(count, Service(costs)) for count, costs in wanted if costs is not None]
    if len(kinds) < len(wanted):
        raise ConfigError("expected lanes, or a schedule with costs, to simulate")
    return kinds


def simulated_qps_at_sla(
    schedule: ScheduleConfig,
    sizes: Sizes,
    sla: SLA,
    config: SearchConfig,
    lanes: Sequence[Lanes] = (),
    *,
    deadline_ns: int | None = None,
    span: float = 100.0,
    most_queries: int = 400_000,
    watch: Callable[[Probe], None] = lambda probe: None,
) -> Found:
    """Search the highest rate whose percentile stays within the SLA, as on a live system.

    span: length of a run in limits of the SLA, so that a queue that grows is seen to; a run has
        20,000 queries at least, if `most_queries` allows.
    The rest is as of `simulate` and `recstack.loadtest.qps_at_sla`.
    """

    def measure(qps: float, seed: int) -> LoadResult:
        count = int(min(max(span * qps * sla.limit_ns / 1e9, 20_000), most_queries))
        traffic = make_traffic(qps, count, seed=seed, distribution=sizes)
        done = simulate(
            schedule, traffic, lanes, deadline_ns=deadline_ns, warmup=count // 20, seed=seed
        )
        return done.run

    return search_qps(measure, sla, config, origin="simulated", watch=watch)


def _stages(
    scheduled_ns: NDArray[np.int64],
    started_ns: NDArray[np.int64],
    finished_ns: NDArray[np.int64],
    status: NDArray[np.uint8],
) -> dict[str, NDArray[np.int64]]:
    ok = status == 0
    return {
        "queue": np.where(ok, started_ns - scheduled_ns, -1),
        "total": np.where(ok, finished_ns - scheduled_ns, -1),
    }
