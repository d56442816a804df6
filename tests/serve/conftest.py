"""A small model with every sort of input, SUTs to serve it with, and a raw HTTP client."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from recstack.batch import Batch, DenseInput, Input, SparseInput
from recstack.engine.reference import reference
from recstack.errors import RecstackError
from recstack.model import Model
from recstack.model.description import ModelDescription
from recstack.model.model import build
from recstack.model.ops.dense import Linear
from recstack.model.ops.embedding import EmbeddingBag
from recstack.model.ops.tensor import Concat
from recstack.serve import ServeConfig, Server
from recstack.types import Completion, Query, Status

TIMEOUT_S = 20
INPUTS = (
    DenseInput(name="price", width=3),
    DenseInput(name="age", width=2, scope="user"),
    SparseInput(name="item", fixed=True),
    SparseInput(name="tags", length=4),
    SparseInput(name="history", length=5, scope="user", weighted=True),
)


def make_model(name: str = "shop") -> Model:
    rng = np.random.default_rng(0)
    width = 3 + 2 + 4 + 4 + 4
    weights = {
        "table": rng.normal(size=(100, 4)).astype(np.float32),
        "w": rng.normal(size=(2, width)).astype(np.float32),
    }
    bags = [
        EmbeddingBag(inputs=("item",), output="e_item", table="table"),
        EmbeddingBag(inputs=("tags",), output="e_tags", table="table"),
        EmbeddingBag(inputs=("history",), output="e_hist", table="table", pooling="weighted"),
    ]
    join = Concat(inputs=("price", "age", "e_item", "e_tags", "e_hist"), output="all")
    top = Linear(inputs=("all",), output="top", weight="w")
    description = ModelDescription(
        name=name, inputs=INPUTS, ops=(*bags, join, top), outputs=("top",)
    )
    return build(description, weights)


def make_batch(rows: int = 4, queries: int = 1, seed: int = 0) -> Batch:
    """A random batch of the model above; its queries are of uneven sizes, some may be empty."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, rows + 1, queries - 1))
    tags = rng.integers(0, 5, rows)
    history = rng.integers(0, 6, queries)
    lengths = np.concatenate([np.ones(rows), tags, history]).astype(np.int32)
    nnz = int(lengths.sum())
    return Batch(
        dense=rng.random((rows, 3), np.float32),
        user_dense=rng.random((queries, 2), np.float32),
        values=rng.integers(0, 100, nnz),
        lengths=lengths,
        query_offsets=np.array([0, *cuts, rows], np.int32),
        weights=rng.random(nnz, np.float32),
    )


DATATYPES = {"float32": "FP32", "int32": "INT32", "int64": "INT64"}


def packed_arrays(batch: Batch) -> dict[str, np.ndarray]:
    fields = ("dense", "user_dense", "values", "lengths", "query_offsets", "weights")
    arrays = {name: getattr(batch, name) for name in fields}
    return {name: a for name, a in arrays.items() if a is not None}


def named_arrays(batch: Batch, inputs: Sequence[Input] = INPUTS) -> dict[str, np.ndarray]:
    """The same batch by input name (for one query: without offsets)."""
    entries = {"item": batch.rows, "user": batch.queries}
    dense, column = {"item": batch.dense, "user": batch.user_dense}, {"item": 0, "user": 0}
    all_lengths, bag, value = batch.lengths.reshape(-1), 0, 0
    arrays = {}
    for one in inputs:
        if isinstance(one, DenseInput):
            begin = column[one.scope]
            column[one.scope] = end = begin + one.width
            arrays[one.name] = np.ascontiguousarray(dense[one.scope][:, begin:end])
            continue
        lengths = all_lengths[bag : bag + entries[one.scope]]
        span = slice(value, value + int(lengths.sum()))
        bag, value = bag + len(lengths), span.stop
        values = batch.values[span]
        arrays[one.name] = values.reshape(len(lengths), one.length) if one.fixed else values
        if not one.fixed:
            arrays[f"{one.name}.lengths"] = lengths
        if one.weighted:
            arrays[f"{one.name}.weights"] = batch.weights[span]
    return arrays if batch.queries == 1 else {**arrays, "query_offsets": batch.query_offsets}


def encode(
    arrays: dict[str, np.ndarray], binary: bool = True, pad: int = 8, **more: Any
) -> tuple[bytes, int | None]:
    """A request body and the length of its JSON part, None where all is JSON."""
    inputs, blobs = [], []
    for name, array in arrays.items():
        entry: dict[str, Any] = {
            "name": name,
            "datatype": DATATYPES[str(array.dtype)],
            "shape": list(array.shape),
        }
        if binary:
            entry["parameters"] = {"binary_data_size": array.nbytes}
            blobs.append(array.tobytes())
        else:
            entry["data"] = array.tolist()
        inputs.append(entry)
    text = json.dumps({"inputs": inputs, **more}).encode()
    if not binary:
        return text, None
    text += b" " * (-len(text) % pad)
    return text + b"".join(blobs), len(text)


@dataclass
class Sut:
    """Runs the reference in threads; `before` is called first and may wait or raise."""

    model: Model
    threads: int = 2
    before: Callable[[Query], None] = lambda query: None
    issued: list[Query] = field(default_factory=list)
    status: Status = "ok"

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.threads)

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        self.issued.append(query)
        if self.status != "ok":
            done(Completion(query.id, self.status, time.monotonic_ns()))
            return
        self._pool.submit(self._run, query, done)

    def _run(self, query: Query, done: Callable[[Completion], None]) -> None:
        began = time.monotonic_ns()
        try:
            self.before(query)
            scores = reference(self.model, query.batch)
        except RecstackError as error:
            done(Completion(query.id, "error", time.monotonic_ns(), error=str(error)))
            return
        now = time.monotonic_ns()
        stages = {"queue": 0, "execute": now - began}
        done(Completion(query.id, "ok", now, scores, stages_ns=stages))

    def stats(self) -> dict[str, float]:
        return {"waiting_queries": 3}

    def close(self) -> None:
        self._pool.shutdown()


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One TCP connection, bytes in and out; every wait ends after TIMEOUT_S."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._file = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def reply(self, head: bool = False) -> Reply:
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers = {}
        while (text := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = text.decode().partition(":")
            headers[name.lower()] = value.strip()
        size = 0 if head else int(headers.get("content-length", "0"))
        return Reply(int(line.split()[1]), headers, self._file.read(size))

    def ask(
        self,
        target: str,
        body: bytes = b"",
        headers: dict[str, Any] | None = None,
        method: str = "",
    ) -> Reply:
        method = method or ("POST" if body else "GET")
        fields = {"Host": "x", **({"Content-Length": len(body)} if body else {}), **(headers or {})}
        lines = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
        self.send(f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        return self.reply(head=method == "HEAD")

    def infer(
        self, body: bytes, json_bytes: int | None = None, model: str = "shop", **headers: Any
    ) -> Reply:
        if json_bytes is not None:
            headers["Inference-Header-Content-Length"] = json_bytes
        return self.ask(f"/v2/models/{model}/infer", body, headers)

    def at_end(self) -> bool:
        """Whether the server has closed, waiting for it."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


@dataclass
class Running:
    server: Server
    sut: Sut
    model: Model

    @property
    def port(self) -> int:
        return self.server.port

    def client(self) -> Client:
        return Client(self.port)


def serving_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name == "recstack-serve"}


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Starts servers of the small model; all are stopped at the end."""
    running: list[Running] = []
    before = serving_threads()

    def start(model: Model | None = None, sut: Any = None, **config: Any) -> Running:
        model = model or make_model()
        sut = sut or Sut(model)
        server = Server({model.name: (model, sut)}, ServeConfig(**config))
        server.start()
        running.append(Running(server, sut, model))
        return running[-1]

    yield start
    for one in running:
        one.server.stop()
        one.sut.close()
    assert serving_threads() == before


@pytest.fixture(scope="module")
def shop() -> Iterator[Running]:
    """One server for a whole module."""
    model = make_model()
    sut = Sut(model)
    with Server({"shop": (model, sut)}) as server:
        yield Running(server, sut, model)
    sut.close()


@pytest.fixture
def tools() -> Any:
    """The builders above, for test modules (which cannot import this file)."""

    class Tools:
        model = staticmethod(make_model)
        batch = staticmethod(make_batch)
        packed = staticmethod(packed_arrays)
        named = staticmethod(named_arrays)
        encode = staticmethod(encode)
        sut = Sut
        client = Client

    return Tools
