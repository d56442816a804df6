"""Our own load generator's client against our own server: both ends agree on the packed form."""

from __future__ import annotations

import queue
from typing import Any

import numpy as np

from recstack.engine.reference import reference
from recstack.loadtest.http import HttpConfig, HttpSUT
from recstack.types import Completion, Query


def test_the_load_client_gets_the_scores(serve: Any, tools: Any) -> None:
    running = serve()
    client = HttpSUT(HttpConfig(url=running.server.url, model="shop", connections=2, opened=1))
    done: queue.Queue[Completion] = queue.Queue()
    try:
        batches = {i: tools.batch(rows=i, seed=i) for i in range(1, 20)}
        for i, batch in batches.items():
            client.issue(Query(i, batch), done.put)
        for _ in batches:
            completion = done.get(timeout=20)
            assert completion.status == "ok", completion.error
            assert {"execute", "round_trip"} <= completion.stages_ns.keys()
            wanted = reference(running.model, batches[completion.id])
            np.testing.assert_array_equal(completion.scores, wanted)
    finally:
        client.close()
