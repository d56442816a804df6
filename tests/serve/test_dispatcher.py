"""The server in front of the native dispatcher, drained by a thread or by the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recstack import _native
from recstack.engine import compile as compile_model
from recstack.engine.reference import reference
from recstack.schedule import Costs, Dispatcher, LoopDispatcher, ScheduleConfig

pytestmark = pytest.mark.skipif(
    not hasattr(_native, "Dispatcher"),
    reason="LOUD: the extension was built without a dispatcher, NOT tested behind the server",
)


@pytest.mark.parametrize("sort", [Dispatcher, LoopDispatcher])
def test_scores_refusals_and_faults(serve: Any, tools: Any, sort: Any) -> None:
    model = tools.model()
    dispatcher = sort(compile_model(model).factory, ScheduleConfig(lanes=1))
    running = serve(model, dispatcher)
    with running.client() as client:
        for seed in range(20):
            batch = tools.batch(1 + 7 * seed, 1 + seed % 3, seed)
            for arrays in (tools.packed(batch), tools.named(batch)):
                reply = client.infer(*tools.encode(arrays))
                assert reply.status == 200, reply.body
                (output,) = reply.json()["outputs"]
                got = np.array(output["data"], np.float32).reshape(output["shape"])
                np.testing.assert_allclose(got, reference(model, batch), rtol=1e-4, atol=1e-5)
        wrong = batch.replace(values=batch.values + 100)
        reply = client.infer(*tools.encode(tools.packed(wrong)))
        assert reply.status == 400 and reply.json()["where"].endswith("feature 'item', row 0")
        body, json_bytes = tools.encode(tools.packed(batch), parameters={"timeout": 1})
        reply = client.infer(body, json_bytes)
        assert reply.status == 504 and reply.json()["status"] == "deadline"
        text = client.ask("/metrics").body.decode()
        assert 'recstack_queue_depth{model="shop"} 0.0' in text
        assert 'stage="execute"' in text
        dispatcher.close()
        reply = client.infer(*tools.encode(tools.packed(batch)))
        assert reply.status == 503 and reply.json()["status"] == "shutting_down"


def test_a_predicted_miss_is_refused_at_once(serve: Any, tools: Any) -> None:
    model = tools.model()
    hour_us = 3.6e9
    slow = Costs(busy=(1,), service_us=((hour_us / 10, hour_us / 5),))
    schedule = ScheduleConfig(lanes=1, policy="slack", costs=slow, target_ms=1000.0)
    dispatcher = LoopDispatcher(compile_model(model).factory, schedule)
    with serve(model, dispatcher).client() as client:
        reply = client.infer(*tools.encode(tools.packed(tools.batch(2, 1, 0))))
        assert reply.status == 504 and reply.json()["status"] == "deadline"
    assert dispatcher.stats().counters["early"] == 1
