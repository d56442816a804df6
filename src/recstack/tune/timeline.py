"""What lanes ran in a short load run, as a record of a result file."""

from __future__ import annotations

from typing import Any

import numpy as np

from recstack.engine import Engine, HybridEngine
from recstack.loadtest import DriverConfig, drive, make_queries, make_traffic
from recstack.loadtest.sizes import Sizes
from recstack.schedule import LoopDispatcher, ScheduleConfig
from recstack.tune.deployment import start
from recstack.tune.rig import QueryFactory

MOST_CHUNKS = 20_000
LONGEST_S = 3.0


def trace_schedule(
    engine: Engine | HybridEngine, schedule: ScheduleConfig, factory: QueryFactory, sizes: Sizes,
    qps: float, *, label: str, queries: int = 300, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """A short run of `engine` at `qps`, at most `queries` or `LONGEST_S`: which lane ran what."""
    queries = max(min(queries, int(qps * LONGEST_S)), 1)
    with start(engine, schedule) as dispatcher:
        return trace(dispatcher, factory, sizes, qps, label=label, queries=queries, seed=seed)


def trace(
    dispatcher: LoopDispatcher, factory: QueryFactory, sizes: Sizes, qps: float, *,
    label: str, queries: int = 300, seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Load a dispatcher that does nothing else, and say which lane ran what and when."""
    traffic = make_traffic(qps, queries, seed=seed, distribution=sizes)
    dispatcher.begin_trace(MOST_CHUNKS)
    run = drive(
        dispatcher, make_queries(factory, traffic.rows), traffic.scheduled_ns,
        config=DriverConfig(warmup=0),
    )  # fmt: skip
    query, lane, start_ns, end_ns, _, _ = dispatcher.traced().T
    dispatcher.begin_trace(0)
    # A query's first chunk starts when its wait ends: that dates the run's time zero on the clock.
    first = np.full(queries, np.iinfo(np.int64).max)
    np.minimum.at(first, query, start_ns)
    seen = np.unique(query)
    zero_ns = np.median(first[seen] - run.stages_ns["queue"][seen] - run.issued_ns[seen])
    zero = int(zero_ns) if seen.size else 0
    return {
        "record": "timeline", "origin": run.origin, "label": label,
        "lanes": dispatcher.config.lanes, "chunk_query": query, "chunk_lane": lane,
        "chunk_start_ns": start_ns - zero, "chunk_end_ns": end_ns - zero,
        "arrival_ns": run.scheduled_ns, "rows": run.rows,
    }  # fmt: skip
