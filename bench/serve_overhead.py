"""What the server adds to a query: small binary infers through a SUT that answers at once.

    python bench/serve_overhead.py [--seconds 5] [--rows 64] [--connections 8]

Beside it the floor: a bare uvloop protocol that counts the bytes of a request and sends a canned
reply. Each server runs on one core in a process of its own, the client on another; they are timed
in turns. One connection, one request at a time: latency. Several connections, closed loop: requests
per second, and the server's CPU time per request. The answers are checked before anything is timed.
Prints JSON; `added` is server less floor.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

DENSE, FEATURES = 13, 8


def serve() -> None:
    from recstack.batch import DenseInput, SparseInput
    from recstack.model.description import ModelDescription
    from recstack.model.model import build
    from recstack.model.ops.dense import Linear
    from recstack.serve import Server
    from recstack.types import Completion

    os.sched_setaffinity(0, {0})
    sparse = [SparseInput(name=f"s{i}", length=20) for i in range(FEATURES)]
    op = Linear(inputs=("dense",), output="out", weight="w")
    description = ModelDescription(
        name="null",
        inputs=(DenseInput(name="dense", width=DENSE), *sparse),
        ops=(op,),
        outputs=("out",),
    )
    model = build(description, {"w": np.zeros((1, DENSE), np.float32)})

    class Null:
        def issue(self, query: Any, done: Any) -> None:
            scores = np.ascontiguousarray(query.batch.dense[:, :1])
            done(Completion(query.id, "ok", time.monotonic_ns(), scores))

        def close(self) -> None:
            pass

    server = Server({"null": (model, Null())})
    server.serve_forever(lambda s: print(s.port, flush=True))


def serve_floor(request_bytes: int, canned: bytes) -> None:
    """The least that a Python server can do."""
    import asyncio

    from recstack.serve.loop import new_loop

    os.sched_setaffinity(0, {0})

    class Floor(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.got = transport, 0

        def data_received(self, data: bytes) -> None:
            self.got += len(data)
            if self.got >= request_bytes:
                self.got -= request_bytes
                self.transport.write(canned)

    loop = new_loop()
    server = loop.run_until_complete(loop.create_server(Floor, "127.0.0.1", 0))
    print(server.sockets[0].getsockname()[1], flush=True)
    loop.run_forever()


def request(rows: int) -> tuple[bytes, bytes]:
    rng = np.random.default_rng(0)
    dense = rng.random((rows, DENSE), np.float32)
    lengths = np.full((FEATURES, rows), 20, np.int32)
    values = rng.integers(0, 1000, FEATURES * rows * 20, np.int32)
    tensors = [("dense", "FP32", dense), ("values", "INT32", values), ("lengths", "INT32", lengths)]
    head: dict[str, Any] = {"id": "1", "parameters": {"binary_data_output": True}}
    head["inputs"] = [
        {
            "name": name,
            "datatype": datatype,
            "shape": list(array.shape),
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, datatype, array in tensors
    ]
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    body = text + b"".join(array.tobytes() for _, _, array in tensors)
    lines = (
        b"POST /v2/models/null/infer HTTP/1.1\r\nHost: x\r\n"
        b"Inference-Header-Content-Length: %d\r\nContent-Length: %d\r\n\r\n"
    )
    return lines % (len(text), len(body)) + body, dense[:, 0].tobytes()


def reply(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(1 << 16)
    head, _, rest = data.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[-1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += sock.recv(1 << 16)
    assert head.startswith(b"HTTP/1.1 200"), head
    return rest


def cpu_ns(pid: int) -> int:
    """CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def one_at_a_time(port: int, message: bytes, seconds: float) -> np.ndarray:
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic_ns()
            sock.sendall(message)
            reply(sock)
            taken.append(time.monotonic_ns() - began)
    return np.array(taken[len(taken) // 10 :])


def closed_loop(port: int, message: bytes, size: int, connections: int, seconds: float) -> int:
    """Requests answered; the client only counts bytes, to stay off the server's way."""
    answered = 0
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(sock, selectors.EVENT_READ, [0])
            sock.sendall(message)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for key, _ in selector.select(0.1):
                sock, got = key.fileobj, key.data
                got[0] += len(sock.recv(1 << 16))
                if got[0] >= size:
                    got[0] -= size
                    answered += 1
                    sock.sendall(message)
        for key in list(selector.get_map().values()):
            key.fileobj.close()
    return answered


def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, __file__, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def first_reply(port: int, message: bytes, scores: bytes) -> bytes:
    """A whole reply, checked."""
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(message)
        assert reply(sock).endswith(scores), "wrong scores"
        sock.sendall(message)
        time.sleep(0.2)
        return sock.recv(1 << 20)


def measure(pid: int, port: int, message: bytes, size: int, options: Any) -> dict[str, Any]:
    latency = one_at_a_time(port, message, options.seconds)
    before, began = cpu_ns(pid), time.monotonic()
    answered = closed_loop(port, message, size, options.connections, options.seconds)
    spent, elapsed = cpu_ns(pid) - before, time.monotonic() - began
    return {"latency": latency, "cpu_us": spent / answered / 1e3, "qps": answered / elapsed}


def report(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    latency = np.concatenate([r["latency"] for r in rounds]) / 1e3
    p50, p95, p99 = (round(float(x), 1) for x in np.percentile(latency, [50, 95, 99]))
    return {
        "qps": round(float(np.median([r["qps"] for r in rounds]))),
        "cpu_us_per_request": round(float(np.median([r["cpu_us"] for r in rounds])), 1),
        "latency_us": {"p50": p50, "p95": p95, "p99": p99},
        "samples": len(latency),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--floor", type=int)
    parser.add_argument("--canned", default="")
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    if options.floor:
        serve_floor(options.floor, bytes.fromhex(options.canned))
        return
    os.sched_setaffinity(0, {os.cpu_count() - 1})
    message, scores = request(options.rows)
    server, port = start("--serve")
    processes = [server]
    try:
        canned = first_reply(port, message, scores)
        floor, floor_port = start("--floor", str(len(message)), "--canned", canned.hex())
        processes.append(floor)
        rounds: dict[str, list[dict[str, Any]]] = {"server": [], "floor": []}
        for _ in range(options.rounds):
            for name, process, at in (("server", server, port), ("floor", floor, floor_port)):
                rounds[name].append(measure(process.pid, at, message, len(canned), options))
    finally:
        for process in processes:
            process.terminate()
            process.communicate()
    found = {name: report(r) for name, r in rounds.items()}
    added = {
        "p50_us": found["server"]["latency_us"]["p50"] - found["floor"]["latency_us"]["p50"],
        "cpu_us": found["server"]["cpu_us_per_request"] - found["floor"]["cpu_us_per_request"],
    }
    result = {
        "origin": "measured",
        "rows": options.rows,
        "request_bytes": len(message),
        "connections": options.connections,
        "load_average": os.getloadavg()[0],
        "added": {name: round(value, 1) for name, value in added.items()},
        **found,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
