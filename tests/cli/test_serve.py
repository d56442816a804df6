"""`recstack serve` as a user runs it: a process, asked over HTTP, ended by a signal."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from recstack.cli.serve import serve
from recstack.data import random_batch
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision, quantisable
from recstack.errors import RecstackError
from recstack.model import Model, zoo
from recstack.model.digest import model_digest
from recstack.precision.plan import PrecisionPlan
from recstack.schedule import Costs, ScheduleConfig
from recstack.tune import Deployment
from recstack.tune.guard import GuardConfig

NCF = zoo.build("ncf", seed=0, rows_scale=0.001)
COMMAND = [sys.executable, "-c", "from recstack.cli import main; main()", "serve"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and beside it deployments of it."""
    home = tmp_path_factory.mktemp("serve")
    NCF.save(home / "m")
    Deployment(model="m", reference="m").save(home / "plan.toml")
    return home


@contextmanager
def serving(
    cwd: Path, *arguments: str, said: list[str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port, once it listens; said: gets its lines until then."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0"],
        stderr=subprocess.PIPE, text=True, cwd=cwd, env={**os.environ, "COLUMNS": "160"},
    ) as process:  # fmt: skip
        try:
            lines = [] if said is None else said
            while not (found := re.search(r"at http://127.0.0.1:(\d+)/v2", "".join(lines))):
                line = process.stderr.readline()
                assert line, "".join(lines)
                lines.append(line)
            yield process, int(found[1])
        finally:
            process.kill()


def infer(model: Model, rows: int, **more: object) -> bytes:
    batch = random_batch(model, rows, seed=rows)
    arrays = {"dense": batch.dense, "values": batch.values, "lengths": batch.lengths.reshape(-1),
              "query_offsets": batch.query_offsets}  # fmt: skip
    inputs = [
        {"name": name, "datatype": "FP32" if name == "dense" else "INT32",
         "shape": array.shape, "data": array.ravel().tolist()}
        for name, array in arrays.items() if array.size
    ]  # fmt: skip
    return json.dumps({"inputs": inputs, **more}).encode()


def post(port: int, path: str, body: bytes) -> tuple[int, dict[str, object]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/{path}", body) as reply:
        return reply.status, json.loads(reply.read())


def metric(port: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        found = re.search(rf"^{name}\S* (\S+)$", page.read().decode(), re.MULTILINE)
    assert found
    return float(found[1])


@pytest.mark.parametrize("options", [(), ("--adapt", "--sla", "p99<=50ms"), ("--monitor", "1")])
def test_a_plan_is_served_until_a_signal(folder: Path, options: tuple[str, ...]) -> None:
    with serving(folder, "plan.toml", "--name", "shop", *options) as (process, port):
        for rows in (1, 300):
            status, answer = post(port, "shop/infer", infer(NCF, rows, id=f"q{rows}"))
            assert status == 200 and answer["outputs"][0]["shape"] == [rows, 1]
        if "--monitor" in options:
            end = time.monotonic() + 20
            labels = json.dumps({"id": "q1", "labels": [1]}).encode()
            while post(port, "shop/labels", labels)[1] != {"taken": True}:
                assert time.monotonic() < end
                time.sleep(0.01)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            text = page.read().decode()
        word = {"": "accepted", "--adapt": "adapt_windows", "--monitor": "monitor_alarm"}
        assert f"recstack_sut_{word[options[0] if options else '']}" in text
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_ranges_found_while_serving_are_there_after_a_restart(tmp_path: Path) -> None:
    layers = {n: LayerPrecision("int8", ActivationRange(-9.0, 9.0)) for n in quantisable(NCF)}
    NCF.save(tmp_path / "m")
    PrecisionPlan(layers=LayerPlan(layers=layers)).save(tmp_path / "precision.toml")
    guard = GuardConfig(share=1.0, refresh_every=32, drift=None, clipping=None, ne_budget=None)
    made = Deployment(
        model="m", precision="precision.toml", reference="m", reference_digest=model_digest(NCF),
        guard=guard,
    )  # fmt: skip
    made.save(tmp_path / "plan.toml")
    kept = tmp_path / "plan.ranges.toml"
    with serving(tmp_path, "plan.toml", "--name", "shop") as (process, port):
        end = time.monotonic() + 20
        while not kept.exists():
            assert post(port, "shop/infer", infer(NCF, 30))[0] == 200 and time.monotonic() < end
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    before = kept.read_text()
    assert "9.0" not in before and all(name in before for name in layers)
    with serving(tmp_path, "plan.toml", said=(lines := [])) as _:
        assert "with the ranges that" in "".join(lines)
    layers[quantisable(NCF)[0]] = LayerPrecision("int8", ActivationRange(-8.0, 8.0))
    PrecisionPlan(layers=LayerPlan(layers=layers)).save(tmp_path / "precision.toml")
    with serving(tmp_path, "plan.toml", said=(lines := [])) as _:
        assert "is of another model or plan: not used" in "".join(lines)
    assert kept.read_text() == before


def test_a_plan_of_slack_is_served_without_adapting(folder: Path) -> None:
    """`tune` tries that policy unless told: --adapt says that there is nothing to choose."""
    costs = Costs(busy=(1,), service_us=((10.0, 20.0),))
    schedule = ScheduleConfig(lanes=1, policy="slack", costs=costs, target_ms=10.0)
    Deployment(model="m", schedule=schedule).save(folder / "slack.toml")
    with serving(folder, "slack.toml", "--name", "shop", "--adapt") as (process, port):
        status, _ = post(port, "shop/infer", infer(NCF, 3))
        assert status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            assert "adapt_windows" not in page.read().decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_work_that_nobody_waits_for_does_not_hold_up_the_end(tmp_path: Path) -> None:
    heavy = zoo.build("dlrm-dcnv2", rows_scale=1e-6)
    heavy.save(tmp_path / "m")
    body = infer(heavy, 100)  # tens of milliseconds
    with serving(tmp_path, "m") as (process, port):
        clients = [HTTPConnection("127.0.0.1", port) for _ in range(300)]
        for client in clients:
            client.request("POST", "/v2/models/dlrm-dcnv2/infer", body)
        while metric(port, "recstack_in_flight") < 200:
            time.sleep(0.05)
        for client in clients:
            assert client.sock is not None
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        while metric(port, "recstack_connections") > 1:
            time.sleep(0.05)
        assert metric(port, "recstack_in_flight") > 100
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(60) == 0
        assert time.monotonic() - began < 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "nowhere"}, "cannot read"),
        ({"plan": "broken"}, "weights.safetensors"),
        ({"host": "no such host.invalid"}, "cannot find the host"),
        ({"monitor": 0.1}, "expected the folder of the fp32 model"),
        ({"plan": "plan.toml", "monitor": 1.0, "adapt": True}, "a monitor or --adapt, got both"),
        ({"sla": "fast"}, "fast"),
    ],
)
def test_what_cannot_be_served_is_an_error(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    NCF.save(folder / "broken")
    weights = folder / "broken" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(RecstackError, match=message):
        serve(**{**options, "port": 0, "plan": folder / options.get("plan", "m")})


def test_a_port_that_is_taken_is_one_sentence_and_exit_code_2(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [*COMMAND, "m", "--port", port], capture_output=True, text=True, cwd=folder,
            timeout=60, check=False, env={**os.environ, "COLUMNS": "160"},
        )  # fmt: skip
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in done.stderr
