"""What verbs that make traffic share: options, queries, a client in its own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from recstack.data import random_batch
from recstack.loadtest import (
    SLA,
    DriverConfig,
    HttpConfig,
    HttpSUT,
    LoadResult,
    Traffic,
    drive,
    make_queries,
    make_traffic,
    run_apart,
    sizes,
)
from recstack.model import Model
from recstack.tune import QueryPool
from recstack.types import Query

SlaText = Annotated[str, typer.Option(help="Tail-latency target, such as 'p95<=10ms'.")]
DEFAULT_SLA, DEFAULT_SIZES = "p95<=10ms", "production"
SlaOption = Annotated[
    str | None,
    typer.Option(help=f"Tail-latency target; without one the plan's, or {DEFAULT_SLA}."),
]
SizesOption = Annotated[
    str | None, typer.Option(help=f"Query sizes; without them the plan's, or {DEFAULT_SIZES}.")
]
SizesText = Annotated[
    str, typer.Option(help="Query sizes: fixed:N | lognormal:MU,SIGMA | mlperf | production.")
]


def random_queries(model: Model, seed: int) -> QueryPool:
    """A factory of random queries for `model`, a few of each size."""
    return QueryPool(lambda index, rows: Query(index, random_batch(model, rows, seed + index)))


def over_http(
    url: str,
    model: str,
    factory: Callable[[int, int], Query],
    distribution: sizes.Sizes,
    sla: SLA,
    rate_qps: float,
    seconds: float,
    seed: int,
) -> LoadResult:
    """Load a server open-loop from a process of its own, so that it does not slow the server."""
    # Two hundred queries where that takes no more than five times as long as asked.
    count = max(int(rate_qps * seconds), min(200, int(5 * rate_qps * seconds)), 1)
    traffic = make_traffic(rate_qps, count, seed=seed, distribution=distribution)
    queries = make_queries(factory, traffic.rows)
    config = DriverConfig(deadline_ns=10 * sla.limit_ns, drain_ns=5_000_000_000)
    limit_s = 5 * seconds + 60
    return run_apart(_drive, url, model, queries, traffic, config, timeout_s=limit_s)


def _drive(
    url: str, model: str, queries: Sequence[Query], traffic: Traffic, config: DriverConfig
) -> LoadResult:
    sut = HttpSUT(HttpConfig(url=url, model=model))
    try:
        sut.prepare(queries)
        return drive(sut, queries, traffic.scheduled_ns, config=config)
    finally:
        sut.close()
