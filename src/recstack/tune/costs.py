"""The cost curve of an engine on this machine."""

from __future__ import annotations

from recstack.data import random_batch
from recstack.engine import Engine, HybridEngine
from recstack.schedule import Costs, measure_costs
from recstack.tune.deployment import executor_factory


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
