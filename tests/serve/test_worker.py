"""Long JSON is read beside the loop: others are answered meanwhile, replies keep their order."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from recstack.serve.config import ServeConfig
from recstack.serve.infer import INLINE_JSON_BYTES
from recstack.serve.protocol import Codec

WAIT_S = 20
LONG_ROWS = 600


class Gate:
    """Holds up the decoding of long bodies until it is opened; notes who decoded what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.open = threading.Event(), threading.Event()
        self.threads: dict[bool, set[str]] = {True: set(), False: set()}
        decode = Codec.decode

        def slow(codec: Codec, body: bytes, json_bytes: int | None = None) -> Any:
            long = len(body) > INLINE_JSON_BYTES
            self.threads[long].add(threading.current_thread().name)
            if long:
                self.entered.set()
                assert self.open.wait(WAIT_S)
            return decode(codec, body, json_bytes)

        monkeypatch.setattr(Codec, "decode", slow)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Any:
    gate = Gate(monkeypatch)
    yield gate
    gate.open.set()


def bodies(tools: Any) -> tuple[bytes, bytes]:
    long, short = (
        tools.encode(tools.packed(tools.batch(rows)), False)[0] for rows in (LONG_ROWS, 2)
    )
    assert ServeConfig().max_json_bytes > len(long) > INLINE_JSON_BYTES > len(short)
    return long, short


def test_health_and_short_requests_are_answered_while_long_json_is_read(
    serve: Any, tools: Any, gate: Gate
) -> None:
    long, short = bodies(tools)
    running = serve()
    with running.client() as slow, running.client() as quick:
        slow.send(request(running, long))
        assert gate.entered.wait(WAIT_S)
        assert quick.ask("/v2/health/ready").status == 200
        assert quick.infer(short).status == 200
        gate.open.set()
        assert slow.reply().status == 200
    (name,) = gate.threads[True]
    assert name.startswith("recstack-decode") and gate.threads[False] == {"recstack-serve"}


def test_replies_keep_the_order_of_asking(serve: Any, tools: Any, gate: Gate) -> None:
    long, short = bodies(tools)
    running = serve()
    with running.client() as client:
        client.send(request(running, long) + request(running, short))
        assert gate.entered.wait(WAIT_S)
        gate.open.set()
        sizes = [len(np.array(client.reply().json()["outputs"][0]["data"])) for _ in range(2)]
    assert sizes == [LONG_ROWS * running.model.output_width, 2 * running.model.output_width]


def test_a_fault_found_on_the_thread_is_the_client_s(serve: Any) -> None:
    running = serve()
    with running.client() as client:
        reply = client.infer(b'{"inputs": [' + b" " * INLINE_JSON_BYTES + b"}")
        assert reply.status == 400 and b"expected JSON" in reply.body
        assert client.ask("/v2/health/live").status == 200


def test_requests_being_read_count_as_in_flight(serve: Any, tools: Any, gate: Gate) -> None:
    long, short = bodies(tools)
    running = serve(max_in_flight=1)
    with running.client() as slow, running.client() as quick:
        slow.send(request(running, long))
        assert gate.entered.wait(WAIT_S)
        assert quick.infer(short).status == 503
        gate.open.set()
        assert slow.reply().status == 200
        assert quick.infer(short).status == 200


def test_stopping_waits_for_what_is_being_read(serve: Any, tools: Any, gate: Gate) -> None:
    long, _ = bodies(tools)
    running = serve()
    with running.client() as client:
        client.send(request(running, long))
        assert gate.entered.wait(WAIT_S)
        stopping = threading.Thread(target=running.server.stop)
        stopping.start()
        gate.open.set()
        assert client.reply().status == 200
        stopping.join(WAIT_S)
        assert not stopping.is_alive()
    assert not [t for t in threading.enumerate() if t.name.startswith("recstack-decode")]


def request(running: Any, body: bytes) -> bytes:
    path = f"/v2/models/{running.model.name}/infer"
    return b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b" % (
        path.encode(), len(body), body,
    )  # fmt: skip
