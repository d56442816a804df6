"""Measures a cost curve: floods lanes with chunks of one size and looks at how fast they go.

The time of a batch is what its lane is taken up for, dispatching included. Chunks are cut from
large queries, so that each reads rows of tables that the one before it did not.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.batch import Batch
from recstack.errors import ConfigError
from recstack.schedule.config import ScheduleConfig
from recstack.schedule.costs import Costs
from recstack.schedule.dispatcher import LoopDispatcher
from recstack.types import Issued

QUANTILES = np.linspace(0.0, 1.0, 41)
LONGEST_S = 600.0
RUNS = 3  # of which the fastest counts: what else the machine does only makes them slower


def measure_costs(
    factory: _native.ExecutorFactory,
    make_batch: Callable[[int, int], Batch],
    *,
    lanes: int | None = None,
    threads_per_lane: int = 1,
    largest_rows: int = 1024,
    seconds: float = 6.0,
    what: str = "",
) -> Costs:
    """Measure what batches of 1, 2, 4, ... rows cost on one lane, and on all at the same time.

    Parameters
    ----------
    factory: makes the lanes' executors.
    make_batch: a query of so many rows, by seed; a few are made and used in turn.
    lanes: the most that run together; None: as many as there are cores for.
    largest_rows: the largest batch, a power of two >= 64.
    seconds: how long it may take, about; large batches of slow models take longer.

    Raises
    ------
    ConfigError: arguments out of range, or a query failed.
    """
    if largest_rows < 64 or largest_rows & (largest_rows - 1):
        raise ConfigError(f"expected largest_rows a power of two >= 64, got {largest_rows}")
    lanes = max(len(os.sched_getaffinity(0)) // threads_per_lane, 1) if lanes is None else lanes
    flood = _Flood(factory, threads_per_lane)
    nodes = largest_rows.bit_length()
    cut_rows = [max(1 << k, largest_rows // 4) for k in range(nodes)]
    cut = {rows: [make_batch(rows, seed) for seed in range(4)] for rows in sorted({*cut_rows})}
    typical = [make_batch(largest_rows // 8, 100 + seed) for seed in range(16)]
    levels = sorted({1, *(b for b in (2, 4, 8, 16, 32, 64) if b < lanes), lanes})
    each_s = seconds / (nodes * len(levels) + 4)
    service = tuple(
        tuple(
            _ascending(flood.chunk_us(cut[cut_rows[k]], 1 << k, busy, each_s) for k in range(nodes))
        )
        for busy in levels
    )
    small = [make_batch(8, 200 + seed) for seed in range(64)]
    merged_us = flood.merged_us(small, 8, each_s)
    # A query's own part is in the time of a batch of one row.
    each_us = (merged_us - service[0][6]) / 7
    return Costs(
        busy=tuple(levels),
        service_us=service,
        query_us=round(min(max(each_us, 0.0), service[0][0]), 4),
        spread=flood.spread(typical, lanes, 2 * each_s),
        what=what,
    )


class _Flood:
    """Dispatchers whose queue is filled at once, so that every lane always has a next batch."""

    def __init__(self, factory: _native.ExecutorFactory, threads_per_lane: int) -> None:
        self._factory = factory
        self._threads = threads_per_lane

    def chunk_us(
        self, batches: Sequence[Batch], chunk_rows: int, lanes: int, seconds: float
    ) -> float:
        """How long a chunk takes up its lane while so many lanes run."""
        config = self._config(lanes, chunk_rows, merge_rows=0)
        rows = batches[0].rows
        with LoopDispatcher(self._factory, config) as dispatcher:
            once = _flooded(dispatcher, batches, 2 * lanes)
            count = _count(_elapsed_ns(once) / once.finished_ns.size, seconds, least=2 * lanes)
            elapsed = min(_elapsed_ns(_flooded(dispatcher, batches, count)) for _ in range(RUNS))
        return elapsed * lanes / (count * rows / chunk_rows) / 1e3

    def merged_us(self, batches: Sequence[Batch], queries: int, seconds: float) -> float:
        """How long a batch of so many merged queries takes up a lane."""
        rows = queries * batches[0].rows
        with LoopDispatcher(self._factory, self._config(1, rows, merge_rows=rows)) as dispatcher:
            once = _flooded(dispatcher, batches, 8 * queries)
            per_query_ns = _elapsed_ns(once) / once.finished_ns.size
            count = _count(per_query_ns, seconds, least=16 * queries)
            times = []
            for _ in range(RUNS):
                before = dispatcher.stats().counters["batches"]
                run = _flooded(dispatcher, batches, count)
                made = dispatcher.stats().counters["batches"] - before
                times.append(_elapsed_ns(run) / max(made, 1))
        return min(times) / 1e3

    def spread(self, batches: Sequence[Batch], lanes: int, seconds: float) -> tuple[float, ...]:
        """Quantiles of a batch's time over its mean, while so many lanes run."""
        config = self._config(lanes, batches[0].rows, merge_rows=0)
        with LoopDispatcher(self._factory, config) as dispatcher:
            once = _flooded(dispatcher, batches, 2 * lanes)
            count = _count(_elapsed_ns(once) / once.finished_ns.size, seconds, least=64)
            run = _flooded(dispatcher, batches, count)
        took: NDArray[np.int64] = run.stages_ns["execute"]
        factors = np.quantile(took / took.mean(), QUANTILES)
        return tuple(round(float(f), 4) for f in factors)

    def _config(self, lanes: int, chunk_rows: int, merge_rows: int) -> ScheduleConfig:
        return ScheduleConfig(
            lanes=lanes, threads_per_lane=self._threads, chunk_rows=chunk_rows,
            merge_rows=merge_rows, queue_queries=1 << 16, queue_rows=1 << 40,
        )  # fmt: skip


def _flooded(dispatcher: LoopDispatcher, batches: Sequence[Batch], count: int) -> Issued:
    which = np.fromiter(itertools.islice(itertools.cycle(range(len(batches))), count), np.int32)
    run = dispatcher.issue_schedule(
        batches, which, np.zeros(count, np.int64), lead_ns=100_000,
        drain_ns=round(LONGEST_S * 1e9),
    )  # fmt: skip
    if (run.status != 0).any():
        reason = run.errors[0] if run.errors else "not answered"
        raise ConfigError(f"expected every query to be answered, got: {reason}")
    return run


def _elapsed_ns(run: Issued) -> float:
    return float(run.finished_ns.max() - run.issued_ns[0])


def _count(query_ns: float, seconds: float, *, least: int) -> int:
    """Queries of which RUNS runs take the time given."""
    return min(max(round(seconds * 1e9 / RUNS / max(query_ns, 1.0)), least), 1 << 14)


def _ascending(times: Iterable[float]) -> list[float]:
    """More rows never cost less; to a hundredth of a microsecond."""
    return [round(most, 2) for most in itertools.accumulate(times, max)]
