"""What verbs that make traffic share: options, queries, a client in its own process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Annotated

import numpy as np
import typer

from recstack.batch import DenseInput
from recstack.data import random_batch, streams
from recstack.engine import compile
from recstack.loadtest import (
    SLA,
    DriverConfig,
    HttpConfig,
    HttpSUT,
    LoadResult,
    NullLatency,
    Traffic,
    arrivals,
    drive,
    make_queries,
    make_traffic,
    null_latency,
    run_apart,
    sizes,
)
from recstack.loadtest.null import empty_query
from recstack.loadtest.null_http import NullServer
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import Linear
from recstack.schedule import ScheduleConfig
from recstack.tune import QueryPool, start
from recstack.types import SUT, Query

SlaText = Annotated[str, typer.Option(help="Tail-latency target, such as 'p95<=10ms'.")]
Others = dict[str, tuple[SUT, Query]]
DEFAULT_SLA, DEFAULT_SIZES = "p95<=10ms", "production"
SlaOption = Annotated[
    str | None,
    typer.Option(help=f"Tail-latency target; without one the plan's, or {DEFAULT_SLA}."),
]
SizesOption = Annotated[
    str | None, typer.Option(help=f"Query sizes; without them the plan's, or {DEFAULT_SIZES}.")
]
SizesText = Annotated[str, typer.Option(help=f"Query sizes: {sizes.FORMS}.")]
ArrivalsText = Annotated[str, typer.Option("--arrivals", help=f"Arrivals: {arrivals.FORMS}.")]
IndicesText = Annotated[str, typer.Option(help=f"Indices of lookups: {streams.FORMS}.")]


def random_queries(model: Model, seed: int, indices: str = "uniform") -> QueryPool:
    """A factory of random queries for `model`, a few of each size.

    indices: a form of `recstack.data.streams`; each query reads a recorded stream, or one with its
        reuse, from places of its own.
    """
    stream = streams.parse(indices)
    if isinstance(stream, streams.Reuse):
        stream = stream.recorded(np.random.default_rng(seed))
    return QueryPool(
        lambda index, rows: Query(index, random_batch(model, rows, seed + index, indices=stream))
    )


def measured_null(rate_qps: float, *, http: bool = False) -> NullLatency:
    """The generator alone at about `rate_qps`, and the way to a model that does next to nothing.

    That is a dispatcher over a model of one weight, or a server that sends the same bytes always.
    """
    rate_qps = min(max(rate_qps, 500.0), 5000.0)
    if http:
        with NullServer() as server, closing(server.client()) as client:
            others: Others = {"http": (client, empty_query(0, 1))}
            return null_latency(rate_qps, int(rate_qps), others=others)
    inputs = (DenseInput(name="x", width=1),)
    ops = (Linear(output="y", inputs=("x",), weight="w"),)
    described = ModelDescription(name="null", inputs=inputs, ops=ops, outputs=("y",))
    model = build(described, {"w": np.ones((1, 1), np.float32)})
    with closing(start(compile(model), ScheduleConfig(merge_rows=0))) as dispatcher:
        others = {"dispatcher": (dispatcher, Query(0, random_batch(model, 1)))}
        return null_latency(rate_qps, int(rate_qps), others=others)


def over_http(
    url: str,
    model: str,
    factory: Callable[[int, int], Query],
    distribution: sizes.Sizes,
    sla: SLA,
    rate_qps: float,
    seconds: float,
    seed: int,
    process: arrivals.Process = arrivals.poisson,
) -> LoadResult:
    """Load a server open-loop from a process of its own, so that it does not slow the server."""
    # Two hundred queries where that takes no more than five times as long as asked.
    count = max(int(rate_qps * seconds), min(200, int(5 * rate_qps * seconds)), 1)
    traffic = make_traffic(rate_qps, count, seed=seed, process=process, distribution=distribution)
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
