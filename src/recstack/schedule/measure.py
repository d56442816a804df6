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

LONGEST_S = 600.0
INPUT_BYTES = 128 << 20
ROUNDS = 5  # over everything, of whose times the median counts: a shared machine drifts


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
    cut = {rows: _many(make_batch, rows) for rows in sorted({*cut_rows})}
    small = [make_batch(8, 200 + seed) for seed in range(64)]
    typical = [make_batch(largest_rows // 8, 100 + seed) for seed in range(16)]
    levels = sorted({1, *(b for b in (2, 4, 8, 16, 32, 64) if b < lanes), lanes})
    each_s = seconds / (ROUNDS * (nodes * len(levels) + 4))
    rounds = [
        (
            [
                [flood.chunk_us(cut[cut_rows[k]], 1 << k, busy, each_s) for k in range(nodes)]
                for busy in levels
            ],
            flood.merged_us(small, 8, each_s),
            flood.idle_us(typical, 2 * each_s),
            flood.factors(typical, lanes, 2 * each_s),
        )
        for _ in range(ROUNDS)
    ]
    service = np.median([times for times, *_ in rounds], axis=0)
    # A query's own part is in the time of a batch of one row.
    each_us = (np.median([merged for _, merged, _, _ in rounds]) - service[0][6]) / 7
    idle_us = max(float(np.median([idle for _, _, idle, _ in rounds])), 0.0)
    factors = np.concatenate([factors for *_, factors in rounds])
    return Costs(
        busy=tuple(levels),
        service_us=tuple(tuple(_ascending(times)) for times in service.tolist()),
        query_us=round(min(max(float(each_us), 0.0), float(service[0][0])), 4),
        idle_us=round(idle_us, 4),
        spread=likely(factors),
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
        rows = batches[0].rows
        with self._dispatcher(lanes, chunk_rows, merge_rows=0) as dispatcher:
            run = _for_seconds(dispatcher, batches, seconds, least=2 * lanes)
        chunks = run.finished_ns.size * rows / chunk_rows
        return _elapsed_ns(run) * lanes / chunks / 1e3

    def merged_us(self, batches: Sequence[Batch], queries: int, seconds: float) -> float:
        """How long a batch of so many merged queries takes up a lane."""
        rows = queries * batches[0].rows
        with self._dispatcher(1, rows, merge_rows=rows) as dispatcher:
            before = _flooded(dispatcher, batches, 8 * queries)
            count = _count(_elapsed_ns(before) / before.finished_ns.size, seconds, 16 * queries)
            made = dispatcher.stats().counters["batches"]
            run = _flooded(dispatcher, batches, count)
            made = dispatcher.stats().counters["batches"] - made
        return _elapsed_ns(run) / max(made, 1) / 1e3

    def idle_us(self, batches: Sequence[Batch], seconds: float) -> float:
        """How much longer a batch takes if its lane stood idle for a few milliseconds."""
        gap_ns = 5_000_000
        count = min(max(round(seconds * 1e9 / gap_ns), 8), 64)
        with self._dispatcher(1, batches[0].rows, merge_rows=0) as dispatcher:
            flooded = _flooded(dispatcher, batches, 2 * count).stages_ns["execute"]
            at_ns = np.arange(count, dtype=np.int64) * (gap_ns + int(np.median(flooded)))
            idle = _issued(dispatcher, batches, at_ns).stages_ns["execute"]
        return float(np.median(idle) - np.median(flooded)) / 1e3

    def factors(self, batches: Sequence[Batch], lanes: int, seconds: float) -> NDArray[np.float64]:
        """Times of batches over their mean, while so many lanes run."""
        with self._dispatcher(lanes, batches[0].rows, merge_rows=0) as dispatcher:
            run = _for_seconds(dispatcher, batches, seconds, least=64 // ROUNDS)
        took: NDArray[np.int64] = run.stages_ns["execute"]
        return took / took.mean()

    def _dispatcher(self, lanes: int, chunk_rows: int, merge_rows: int) -> LoopDispatcher:
        config = ScheduleConfig(
            lanes=lanes, threads_per_lane=self._threads, chunk_rows=chunk_rows,
            merge_rows=merge_rows, queue_queries=1 << 16, queue_rows=1 << 40,
        )  # fmt: skip
        return LoopDispatcher(self._factory, config)


def _many(make_batch: Callable[[int, int], Batch], rows: int) -> list[Batch]:
    """Enough for neither their rows of tables nor their inputs to stay in cache: up to 32."""
    first = make_batch(rows, 0)
    inputs = first.dense.nbytes + first.values.nbytes + first.lengths.nbytes
    count = min(max(INPUT_BYTES // max(inputs, 1), 4), 32)
    return [first, *(make_batch(rows, seed) for seed in range(1, count))]


def _for_seconds(
    dispatcher: LoopDispatcher, batches: Sequence[Batch], seconds: float, *, least: int
) -> Issued:
    """Flood it for about so long, after a short flood that says how many queries that is."""
    once = _flooded(dispatcher, batches, least)
    count = _count(_elapsed_ns(once) / once.finished_ns.size, seconds, least)
    return _flooded(dispatcher, batches, count)


def _flooded(dispatcher: LoopDispatcher, batches: Sequence[Batch], count: int) -> Issued:
    return _issued(dispatcher, batches, np.zeros(count, np.int64))


def _issued(
    dispatcher: LoopDispatcher, batches: Sequence[Batch], at_ns: NDArray[np.int64]
) -> Issued:
    which = np.fromiter(
        itertools.islice(itertools.cycle(range(len(batches))), at_ns.size), np.int32
    )
    run = dispatcher.issue_schedule(
        batches, which, at_ns, lead_ns=100_000, drain_ns=round(LONGEST_S * 1e9)
    )
    if (run.status != 0).any():
        reason = run.errors[0] if run.errors else "not answered"
        raise ConfigError(f"expected every query to be answered, got: {reason}")
    return run


def _elapsed_ns(run: Issued) -> float:
    return float(run.finished_ns.max() - run.issued_ns[0])


def _count(query_ns: float, seconds: float, least: int) -> int:
    """Queries that take about the time given."""
    return min(max(round(seconds * 1e9 / max(query_ns, 1.0)), least), 1 << 14)


def likely(factors: NDArray[np.float64], groups: int = 64) -> tuple[float, ...]:
    """Means of so many groups of equal size, ascending; a rare one of the last weighs no more than
    it should.

    >>> likely(np.array([1.0, 4.0, 2.0, 1.0]), groups=2)
    (1.0, 3.0)
    """
    parts = np.array_split(np.sort(factors), min(groups, factors.size))
    return tuple(round(float(part.mean()), 4) for part in parts)


def _ascending(times: Iterable[float]) -> list[float]:
    """More rows never cost less; to a hundredth of a microsecond."""
    return [round(most, 2) for most in itertools.accumulate(times, max)]
