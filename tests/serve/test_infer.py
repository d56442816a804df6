from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from recstack.engine.reference import reference
from recstack.errors import QueueFull
from recstack.types import Completion


def scores_of(reply: Any, json_bytes: bool = True) -> np.ndarray:
    size = int(reply.headers.get("inference-header-content-length", len(reply.body)))
    (output,) = json.loads(reply.body[:size])["outputs"]
    if "data" in output:
        return np.array(output["data"], np.float32).reshape(output["shape"])
    assert output["parameters"]["binary_data_size"] == len(reply.body) - size
    return np.frombuffer(reply.body[size:], "<f4").reshape(output["shape"])


@pytest.mark.parametrize("form", ["packed", "named"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("rows", "queries"), [(1, 1), (64, 1), (30, 4), (0, 1)])
def test_scores_are_the_reference(
    shop: Any, tools: Any, form: str, binary: bool, rows: int, queries: int
) -> None:
    batch = tools.batch(rows, queries)
    arrays = tools.packed(batch) if form == "packed" else tools.named(batch)
    body, json_bytes = tools.encode(arrays, binary, parameters={"binary_data_output": binary})
    with shop.client() as client:
        reply = client.infer(body, json_bytes)
    assert reply.status == 200, reply.body
    np.testing.assert_array_equal(scores_of(reply), reference(shop.model, batch))


def test_each_query_is_issued_alone(serve: Any, tools: Any) -> None:
    running = serve()
    batch = tools.batch(12, 4)
    body, json_bytes = tools.encode(tools.packed(batch), parameters={"timeout": 5_000_000})
    before = time.monotonic_ns()
    with running.client() as client:
        assert client.infer(body, json_bytes).status == 200
    issued = running.sut.issued
    assert [q.batch.rows for q in issued] == [n for n in np.diff(batch.query_offsets) if n]
    assert len({q.id for q in issued}) == len(issued)
    for query in issued:
        assert 0 < query.deadline_ns - before - 5_000_000_000 < 5_000_000_000


def test_default_deadline(serve: Any, tools: Any) -> None:
    running = serve(default_timeout_us=10_000_000)
    with running.client() as client:
        assert client.infer(*tools.encode(tools.packed(tools.batch(2)))).status == 200
    assert running.sut.issued[0].deadline_ns is not None


def test_the_answer_reports_id_and_stages(shop: Any, tools: Any) -> None:
    with shop.client() as client:
        reply = client.infer(*tools.encode(tools.packed(tools.batch(2)), id="q-1"))
    answer = reply.json()
    assert answer["id"] == "q-1" and answer["model_name"] == "shop"
    assert set(answer["parameters"]) == {"queue_ns", "execute_ns"}


@pytest.mark.parametrize(
    ("status", "code", "retry"),
    [("queue_full", 503, "1"), ("deadline", 504, None), ("shutting_down", 503, "1")],
)
def test_refusals(serve: Any, tools: Any, status: Any, code: int, retry: str | None) -> None:
    model = tools.model()
    running = serve(model, tools.sut(model, status=status))
    with running.client() as client:
        reply = client.infer(*tools.encode(tools.packed(tools.batch(2))))
        assert reply.status == code and reply.json()["status"] == status
        assert reply.headers.get("retry-after") == retry
        assert client.ask("/v2/health/live").status == 200


def test_wrong_contents_are_the_clients_fault(shop: Any, tools: Any) -> None:
    batch = tools.batch(6, 2)
    high, nan = batch.values.copy(), batch.dense.copy()
    high[2], nan[4, 1] = 100, np.nan
    with shop.client() as client:
        reply = client.infer(*tools.encode(tools.packed(batch.replace(values=high))))
        assert reply.status == 400 and reply.json()["where"].endswith("feature 'item', row 2")
        assert "expected an index in [0, 100), got 100" in reply.json()["error"]
        reply = client.infer(*tools.encode(tools.packed(batch.replace(dense=nan))))
        assert reply.status == 400 and "finite" in reply.json()["error"]
        assert client.infer(*tools.encode(tools.packed(batch))).status == 200


def test_a_fault_of_the_model_is_500_and_logged_without_the_payload(
    serve: Any, tools: Any, caplog: Any
) -> None:
    word = "secret"

    class Broken:
        def issue(self, query: Any, done: Any) -> None:
            raise ValueError(word)

        def close(self) -> None:
            pass

    running = serve(sut=Broken())
    with caplog.at_level(logging.ERROR), running.client() as client:
        reply = client.infer(*tools.encode(tools.packed(tools.batch(2))))
        assert reply.status == 500 and "secret" not in reply.body.decode()
        assert client.ask("/v2/health/live").status == 200
    assert "ValueError" in caplog.text and "secret" not in caplog.text


class Immediate:
    """Calls `done` inside `issue`, with what it was given."""

    def __init__(self, *completions: Any) -> None:
        self.completions = completions

    def issue(self, query: Any, done: Any) -> None:
        for scores in self.completions:
            if isinstance(scores, Exception):
                raise scores
            done(Completion(query.id, "ok", time.monotonic_ns(), scores))

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("given", "binary", "status"),
    [
        ((np.ones((2, 2), np.float32),), False, 200),
        ((np.ones((2, 2), np.float32),) * 3, False, 200),
        ((np.ones((2, 1), np.float32),), False, 500),
        ((None,), False, 500),
        ((np.full((2, 2), np.nan, np.float32),), False, 500),
        ((np.full((2, 2), np.nan, np.float32),), True, 200),
        ((np.ones((2, 4), np.float32)[:, ::2],), True, 200),
        ((QueueFull("full"),), False, 503),
    ],
)
def test_suts_that_answer_at_once(
    serve: Any, tools: Any, given: Any, binary: bool, status: int
) -> None:
    running = serve(sut=Immediate(*given))
    arrays = tools.packed(tools.batch(2))
    with running.client() as client:
        for _ in range(2):
            reply = client.infer(*tools.encode(arrays, parameters={"binary_data_output": binary}))
            assert reply.status == status


def test_a_sut_that_never_answers(serve: Any, tools: Any) -> None:
    running = serve(sut=Immediate(), reply_timeout_s=0.3)
    with running.client() as client:
        assert client.infer(*tools.encode(tools.packed(tools.batch(2)))).status == 504
        assert client.ask("/v2/health/live").status == 200


def test_too_many_in_flight(serve: Any, tools: Any) -> None:
    running = serve(sut=Immediate(), max_in_flight=1, reply_timeout_s=0.5)
    body, json_bytes = tools.encode(tools.packed(tools.batch(2)))
    with running.client() as one, running.client() as two, ThreadPoolExecutor(1) as pool:
        first = pool.submit(one.infer, body, json_bytes)
        time.sleep(0.1)
        assert two.infer(body, json_bytes).status == 503
        assert first.result().status == 504


def test_json_too_long_for_the_loop(serve: Any, tools: Any) -> None:
    running = serve(max_json_bytes=500)
    with running.client() as client:
        assert client.infer(b" " * 501).status == 413
        assert client.ask("/v2/health/live").status == 200


def test_a_sut_polled_by_the_loop(serve: Any, tools: Any) -> None:
    import os

    class Polled:
        """The native dispatcher's shape: a descriptor to watch, and `drain`."""

        def __init__(self) -> None:
            self.read, self.write = os.pipe()
            self.waiting: list[Any] = []
            self.drained_by: set[str] = set()

        def issue(self, query: Any, done: Any) -> None:
            self.waiting.append((query, done))
            os.write(self.write, b"x")

        def fileno(self) -> int:
            return self.read

        def drain(self) -> None:
            self.drained_by.add(threading.current_thread().name)
            os.read(self.read, 1000)
            waiting, self.waiting = self.waiting, []
            for query, done in waiting:
                scores = np.ones((query.batch.rows, 2), np.float32)
                done(Completion(query.id, "ok", time.monotonic_ns(), scores))

        def close(self) -> None:
            pass

    sut = Polled()
    running = serve(sut=sut)
    with running.client() as client:
        for _ in range(20):
            assert client.infer(*tools.encode(tools.packed(tools.batch(2)))).status == 200
    assert sut.drained_by == {"recstack-serve"}
    running.server.stop()
    os.close(sut.read)
    os.close(sut.write)


def test_many_clients_at_once_among_bad_ones(shop: Any, tools: Any) -> None:
    def work(seed: int) -> None:
        with shop.client() as client:
            for i in range(15):
                if (seed + i) % 3 == 0:
                    assert client.infer(b"{" * (i + 1)).status == 400
                    continue
                batch = tools.batch(1 + seed + i, seed=seed * 100 + i)
                body, json_bytes = tools.encode(
                    tools.packed(batch), parameters={"binary_data_output": True}
                )
                reply = client.infer(body, json_bytes)
                np.testing.assert_array_equal(scores_of(reply), reference(shop.model, batch))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result(60)
