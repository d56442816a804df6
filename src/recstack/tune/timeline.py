"""What lanes ran in a short load run, as a record of a result file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.engine import Engine, HybridEngine
from recstack.loadtest import DriverConfig, LoadResult, drive, make_queries, make_traffic
from recstack.loadtest.outcome import OK
from recstack.loadtest.sizes import Sizes
from recstack.loadtest.timeline import ACCELERATOR, LANE, timeline_record
from recstack.schedule import LoopDispatcher, ScheduleConfig
from recstack.tune.deployment import Engines, start
from recstack.tune.queries import QueryFactory
from recstack.tune.racing import Tuned

MOST_CHUNKS = 20_000
LONGEST_S = 3.0


def trace_schedule(
    engine: Engine | HybridEngine, schedule: ScheduleConfig, factory: QueryFactory, sizes: Sizes,
    qps: float, *, label: str, queries: int = 300, deadline_ns: int | None = None, seed: int = 0,
    **key: str,
) -> dict[str, Any]:  # fmt: skip
    """A short run of `engine` at `qps`, at most `queries` or `LONGEST_S`: which lane ran what.

    key: what else the record says of it, such as model and policy.
    """
    queries = max(min(queries, int(qps * LONGEST_S)), 1)
    with start(engine, schedule) as dispatcher:
        return trace(
            dispatcher, factory, sizes, qps, label=label, queries=queries,
            deadline_ns=deadline_ns, seed=seed, **key,
        )  # fmt: skip


def trace_tuned(
    engines: Engines, found: Tuned, factory: QueryFactory, sizes: Sizes, qps: float,
    *, seed: int = 0,
) -> list[dict[str, Any]]:  # fmt: skip
    """What lanes run at `qps` under the baseline and under the best schedule of a tuning, each on
    the engine of its plan."""
    plans = engines if isinstance(engines, Mapping) else {"": engines}
    return [
        trace_schedule(
            plans[trial.candidate.plan], trial.schedule, factory, sizes, qps, label=label, seed=seed
        )
        for label, trial in (("baseline", found.baseline), ("tuned", found.best))
    ]


def lane_kinds(schedule: ScheduleConfig) -> list[str]:
    """Of each lane of a timeline: those on cores, then the accelerator's."""
    beside = schedule.accelerator.lanes if schedule.accelerator else 0
    return [LANE] * schedule.lanes + [ACCELERATOR] * beside


def trace(
    dispatcher: LoopDispatcher, factory: QueryFactory, sizes: Sizes, qps: float, *,
    label: str, queries: int = 300, deadline_ns: int | None = None, seed: int = 0, **key: str,
) -> dict[str, Any]:  # fmt: skip
    """Load a dispatcher that does nothing else, and say which lane ran what and when."""
    traffic = make_traffic(qps, queries, seed=seed, distribution=sizes)
    dispatcher.begin_trace(MOST_CHUNKS)
    run = drive(
        dispatcher, make_queries(factory, traffic.rows), traffic.scheduled_ns,
        config=DriverConfig(warmup=0, deadline_ns=deadline_ns),
    )  # fmt: skip
    chunks = dispatcher.traced()
    dispatcher.begin_trace(0)
    chunks[:, 2:4] -= _zero_ns(run, chunks)
    return timeline_record(run, chunks, lane_kinds(dispatcher.config), label=label, **key)


def _zero_ns(run: LoadResult, chunks: NDArray[np.int64]) -> int:
    """When the run began, on the clock of the chunks."""
    # A query's first chunk starts when its wait ends: that dates the run's start.
    answered = np.unique(chunks[:, 0])
    answered = answered[run.status[answered] == OK]
    if not answered.size:
        return int(chunks[:, 2].min(initial=0))
    first_ns = np.full(run.queries, np.iinfo(np.int64).max)
    np.minimum.at(first_ns, chunks[:, 0], chunks[:, 2])
    waited_ns = run.stages_ns["queue"][answered] + run.issued_ns[answered]
    return int(np.median(first_ns[answered] - waited_ns))
