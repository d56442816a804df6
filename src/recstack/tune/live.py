"""A deployment loaded in process, and what the same traffic takes with nothing under test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import DenseInput
from recstack.data import random_batch
from recstack.engine import compile
from recstack.loadtest import (
    SLA,
    DriverConfig,
    LoadResult,
    NullLatency,
    drive,
    null_latency,
)
from recstack.loadtest.null_http import NullServer
from recstack.machine.power import Energy, PowerMeter
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import Linear
from recstack.schedule import ScheduleConfig
from recstack.tune.deployment import Deployment, compile_deployment, start
from recstack.types import SUT, Query

Others = dict[str, tuple[SUT, Query]]


def load_deployment(
    deployment: Deployment, model: Model, queries: Sequence[Query],
    scheduled_ns: NDArray[np.int64], sla: SLA,
) -> tuple[LoadResult, Energy | None]:  # fmt: skip
    """Run a schedule on a deployment's lanes; the energy of its accelerator, where it has one.

    A query that is ten limits late is given up.
    """
    device = deployment.schedule.accelerator
    meter = PowerMeter(device.device) if device else None
    dispatcher = start(compile_deployment(deployment, model), deployment.schedule)
    try:
        config = DriverConfig.giving_up(sla)
        with meter or nullcontext():
            run = drive(dispatcher, queries, scheduled_ns, config=config)
    finally:
        dispatcher.close(drain=False)
    return run, meter.energy if meter else None


def null_record(rate_qps: float, *, over_http: Query | None = None) -> dict[str, Any]:
    """`measure_null` as a record of a result file: it stands beside everything measured live."""
    return {"record": "null", **measure_null(rate_qps, over_http=over_http).to_record()}


def measure_null(rate_qps: float, *, over_http: Query | None = None) -> NullLatency:
    """The generator alone at about `rate_qps`, and the way to a model that does next to nothing.

    That is a dispatcher over a model of one weight, or a server that sends the same bytes always.
    At no less than 500 and no more than 5000 queries/s: it takes seconds, and few queries.
    over_http: a query as large as usual, which the server is sent; None: the dispatcher.
    """
    rate_qps = min(max(rate_qps, 500.0), 5000.0)
    if over_http is not None:
        with NullServer(over_http.batch.rows) as server, closing(server.client()) as client:
            others: Others = {"http": (client, over_http)}
            return null_latency(rate_qps, int(rate_qps), others=others)
    inputs = (DenseInput(name="x", width=1),)
    ops = (Linear(output="y", inputs=("x",), weight="w"),)
    described = ModelDescription(name="null", inputs=inputs, ops=ops, outputs=("y",))
    model = build(described, {"w": np.ones((1, 1), np.float32)})
    with closing(start(compile(model), ScheduleConfig(merge_rows=0))) as dispatcher:
        others = {"dispatcher": (dispatcher, Query(0, random_batch(model, 1)))}
        return null_latency(rate_qps, int(rate_qps), others=others)
