"""The cost curve of an engine on this machine."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.engine import Engine, HybridEngine
from recstack.model import Model
from recstack.schedule import Costs, measure_costs
from recstack.schedule.measure import likely
from recstack.tune.deployment import executor_factory
from recstack.tune.queries import QueryFactory
from recstack.types import Executor

CURVE_ROWS = (1, 16, 64, 256, 1000)
ROUNDS = 3  # of which the fastest counts: what else the machine does only makes them slower


def engine_costs(
    engine: Engine | HybridEngine,
    *,
    lanes: int | None = None,
    threads_per_lane: int = 1,
    largest_rows: int = 1024,
    seconds: float = 6.0,
    seed: int = 0,
) -> Costs:
    """Measure what batches of random queries cost; see `recstack.schedule.measure_costs`."""
    return measure_costs(
        executor_factory(engine, threads_per_lane),
        lambda rows, which: random_batch(engine.model, rows, seed + which),
        lanes=lanes,
        threads_per_lane=threads_per_lane,
        largest_rows=largest_rows,
        seconds=seconds,
        what=f"{engine.model.name}, {threads_per_lane} threads per lane",
    )


def executor_costs(
    executor: Executor,
    model: Model,
    *,
    largest_rows: int = 1024,
    seconds: float = 6.0,
    seed: int = 0,
    what: str = "",
) -> Costs:
    """Measure what whole queries of 1, 2, 4, ... rows cost an executor that is called directly.

    Checks, transfers and the way back are in it: what a lane on an accelerator is taken up for.
    largest_rows: a power of two. seconds: how long it may take, about.
    """
    nodes = largest_rows.bit_length()
    seconds_each = seconds / nodes / ROUNDS
    took_us: list[NDArray[np.float64]] = []
    for rows in (1 << k for k in range(nodes)):
        queries = [random_batch(model, rows, seed + which) for which in range(4)]
        for query in queries:
            executor.run(query)
        rounds = [_round(executor, queries, seconds_each) for _ in range(ROUNDS)]
        took_us.append(min(rounds, key=lambda us: float(us.mean())))
    typical = took_us[max(nodes - 4, 0)]
    means = itertools.accumulate((float(us.mean()) for us in took_us), max)
    return Costs(
        busy=(1,),
        service_us=(tuple(round(us, 2) for us in means),),
        spread=likely(typical / typical.mean()),
        what=what,
    )


def measure_curve(
    engine: Engine | HybridEngine, factory: QueryFactory, until_s: float = math.inf
) -> dict[int, float]:
    """Nanoseconds for a few batch sizes on one core, the fastest of a few runs.

    until_s: of the monotonic clock; nothing is begun after it but the first run.
    """
    curve: dict[int, float] = {}
    for rows in CURVE_ROWS:
        batch = factory(0, rows).batch
        for _ in range(5):
            if curve and time.monotonic() >= until_s:
                return curve
            began = time.perf_counter_ns()
            engine.run(batch)
            taken = float(time.perf_counter_ns() - began)
            curve[rows] = min(curve.get(rows, math.inf), taken)
    return curve


def _round(executor: Executor, queries: Sequence[Batch], seconds: float) -> NDArray[np.float64]:
    """(n,) microseconds of each run, queries in turn; at least two runs of each."""
    took_us: list[float] = []
    until = time.perf_counter() + seconds
    for query in itertools.cycle(queries):
        began = time.perf_counter()
        executor.run(query)
        ended = time.perf_counter()
        took_us.append(1e6 * (ended - began))
        if ended > until and len(took_us) >= 2 * len(queries):
            break
    return np.array(took_us)
