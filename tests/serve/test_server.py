from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from recstack.errors import ConfigError, MissingExtra
from recstack.serve import ServeConfig, Server

ROOT = Path(__file__).resolve().parents[2]


def test_config_is_checked() -> None:
    for wrong in ({"prot": 1}, {"port": 70_000}, {"host": ""}, {"max_body_bytes": 0}):
        with pytest.raises(ValidationError):
            ServeConfig(**wrong)
    assert ServeConfig().host == "127.0.0.1"


def test_listens_on_loopback_without_a_word(serve: Any, caplog: Any) -> None:
    running = serve()
    assert running.server.url == f"http://127.0.0.1:{running.port}"
    assert not caplog.records


def test_another_host_is_served_with_a_warning(serve: Any, caplog: Any) -> None:
    running = serve(host="0.0.0.0")
    with running.client() as client:
        assert client.ask("/v2/health/live").status == 200
    assert "other machines can reach this server" in caplog.text


def test_localhost_by_name(serve: Any) -> None:
    running = serve(host="localhost")
    with socket.create_connection(("localhost", running.port), 5):
        pass


def test_start_faults(serve: Any, tools: Any) -> None:
    running = serve()
    with pytest.raises(ConfigError, match="cannot listen"):
        serve(port=running.port)
    with pytest.raises(ConfigError, match="cannot find the host"):
        serve(host="no such host.invalid")
    with pytest.raises(ConfigError, match="already"):
        running.server.start()
    with pytest.raises(ConfigError, match="at least one model"):
        Server({})
    running.server.stop()
    running.server.stop()


@pytest.mark.parametrize("package", ["uvloop", "httptools", "prometheus_client"])
def test_without_the_extra(serve: Any, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=r"recstack\[serve\]"):
        serve()


def test_two_servers_in_one_process(serve: Any, tools: Any) -> None:
    one, two = serve(tools.model("one")), serve(tools.model("two"))
    with one.client() as a, two.client() as b:
        assert a.ask("/v2/models/one").status == b.ask("/v2/models/two").status == 200
        assert a.ask("/v2/models/two").status == b.ask("/v2/models/one").status == 404


def test_stop_drains_what_is_in_flight(serve: Any, tools: Any) -> None:
    go = threading.Event()
    model = tools.model()
    running = serve(model, tools.sut(model, before=lambda query: go.wait(10)))
    body, json_bytes = tools.encode(tools.packed(tools.batch(2)))
    head = (
        "POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\n"
        f"Inference-Header-Content-Length: {json_bytes}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    message = head.encode() + body
    with running.client() as idle, running.client() as busy, running.client() as half:
        assert idle.ask("/v2/health/live").status == 200
        busy.send(message)
        half.send(message[:-10])
        time.sleep(0.2)
        stopping = threading.Thread(target=running.server.stop)
        stopping.start()
        assert idle.at_end()
        with pytest.raises(OSError):
            running.client()
        half.send(message[-10:])
        go.set()
        for client in (busy, half):
            reply = client.reply()
            assert reply.status == 200 and reply.headers["connection"] == "close"
            assert client.at_end()
        stopping.join(10)
        assert not stopping.is_alive()


def test_stop_does_not_wait_for_ever(serve: Any, tools: Any) -> None:
    go = threading.Event()
    model = tools.model()
    running = serve(model, tools.sut(model, before=lambda query: go.wait(20)), drain_timeout_s=0.3)
    body, json_bytes = tools.encode(tools.packed(tools.batch(2)))
    with running.client() as client:
        client.send(
            b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\n"
            b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
            % (json_bytes, len(body))
            + body
        )
        time.sleep(0.1)
        began = time.monotonic()
        running.server.stop()
        assert time.monotonic() - began < 5
        assert client.at_end()
    go.set()  # completes after the loop has gone: nothing happens


SCRIPT = """
import sys, time
import numpy as np
from recstack.batch import DenseInput
from recstack.model.description import ModelDescription
from recstack.model.model import build
from recstack.model.ops.dense import Linear
from recstack.serve import Server
from recstack.types import Completion

op = Linear(inputs=("x",), output="y", weight="w")
description = ModelDescription(
    name="m", inputs=(DenseInput(name="x", width=1),), ops=(op,), outputs=("y",)
)

class Sut:
    def issue(self, query, done):
        done(Completion(query.id, "ok", time.monotonic_ns(), query.batch.dense))
    def close(self):
        print("closed", flush=True)

sut = Sut()
server = Server({"m": (build(description, {"w": np.ones((1, 1), np.float32)}), sut)})
server.serve_forever(lambda s: print(s.port, flush=True))
sut.close()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_forever_ends_by_a_signal(tools: Any, number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        try:
            with tools.client(int(process.stdout.readline())) as client:
                reply = client.infer(*tools.encode({"x": tools.batch(2).dense[:, :1]}), model="m")
                assert reply.status == 200
                process.send_signal(number)
                assert client.at_end()
            out, err = process.communicate(timeout=20)
            assert (process.returncode, out, err) == (0, "closed\n", "")
        finally:
            process.kill()
