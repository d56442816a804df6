from __future__ import annotations

import _thread
import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.errors import BatchError, ConfigError
from recstack.loadtest import summarise, traffic
from recstack.loadtest.apart import run_apart
from recstack.loadtest.driver import DriverConfig, drive
from recstack.loadtest.endpoint import HttpConfig, fetch_metadata, read_answer
from recstack.loadtest.http import HttpSUT
from recstack.loadtest.http1 import MAX_HEAD_BYTES, ResponseReader
from recstack.loadtest.null import empty_query
from recstack.loadtest.oip import Metadata
from recstack.loadtest.outcome import STATUSES, LoadResult
from recstack.types import Completion, Query

META = Metadata("rm2", {}, ("scores",))
Answer = Callable[[dict, bytes], bytes | None]


def respond(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def scores_of(request: dict, blobs: bytes) -> bytes:
    """A score per row: its dense columns summed."""
    shapes = {i["name"]: i["shape"] for i in request["inputs"]}
    rows, width = shapes["dense"]
    scores = np.frombuffer(blobs, "<f4", rows * width).reshape(rows, width).sum(axis=1)
    tensor = {
        "name": "scores",
        "datatype": "FP32",
        "shape": [rows, 1],
        "parameters": {"binary_data_size": 4 * rows},
    }
    answer = {"model_name": "rm2", "outputs": [tensor], "parameters": {"run_ns": 5}}
    head = json.dumps(answer).encode()
    return respond(200, head + scores.tobytes(), f"Inference-Header-Content-Length: {len(head)}")


def hang_up(request: dict, blobs: bytes) -> bytes | None:
    return None


def after(wait: Callable[[], object], answer: Answer = scores_of) -> Answer:
    """An answer that comes once `wait` has returned."""

    def answering(request: dict, blobs: bytes) -> bytes | None:
        wait()
        return answer(request, blobs)

    return answering


class ScriptedServer:
    """Answers each infer request with what `answer(header, blobs)` returns; None hangs up."""

    def __init__(self) -> None:
        self.answer: Answer = scores_of
        self.piece_bytes = 1 << 30  # of an answer, sent at once
        self.requests: list[dict] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for sock in (self._listener, *self._open):
            # Wakes threads that are blocked on it.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(sock)
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, sock.makefile("rb") as stream:
            try:
                while first := stream.readline():
                    fields = {}
                    while (line := stream.readline()) not in (b"\r\n", b""):
                        name, _, value = line.decode().partition(":")
                        fields[name.lower()] = value.strip()
                    body = stream.read(int(fields.get("content-length", 0)))
                    reply = self._reply(first.decode(), fields, body)
                    if reply is None:
                        return
                    for at in range(0, len(reply), self.piece_bytes):
                        sock.sendall(reply[at : at + self.piece_bytes])
            except (OSError, ValueError):
                return

    def _reply(self, first: str, fields: dict[str, str], body: bytes) -> bytes | None:
        if first.startswith("GET /v2/models/rm2 "):
            meta = {"name": "rm2", "inputs": [], "outputs": [{"name": "scores"}]}
            return respond(200, json.dumps(meta).encode())
        if not first.startswith("POST /v2/models/rm2/infer "):
            return respond(404, b'{"error": "unknown model"}')
        size = int(fields["inference-header-content-length"])
        request = json.loads(body[:size])
        self.requests.append(request)
        return self.answer(request, body[size:])


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture
def connect(server: ScriptedServer) -> Iterator[Callable[..., HttpSUT]]:
    made: list[HttpSUT] = []

    def make(**changes: object) -> HttpSUT:
        config = HttpConfig(server.url, "rm2", opened=2, connections=4)
        made.append(HttpSUT(replace(config, **changes)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for sut in made:
        sut.close()


def query(index: int, rows: int) -> Query:
    dense = np.full((rows, 2), index, np.float32)
    return Query(index, empty_query(index, rows).batch.replace(dense=dense))


class Collector:
    """Waits for completions, for at most ten seconds."""

    def __init__(self) -> None:
        self.got: list[Completion] = []
        self._more = threading.Condition()

    def done(self, completion: Completion) -> None:
        with self._more:
            self.got.append(completion)
            self._more.notify_all()

    def wait(self, count: int) -> list[Completion]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.got) >= count, timeout=10)
        return self.got


def ask(sut: HttpSUT, count: int = 1) -> list[Completion]:
    collector = Collector()
    for i in range(count):
        sut.issue(query(i, 3), collector.done)
    return collector.wait(count)


def test_scores_and_stages_come_back(connect: Callable[..., HttpSUT]) -> None:
    got = ask(connect(), 50)
    assert sorted(c.id for c in got) == list(range(50))
    for completion in got:
        assert completion.status == "ok" and completion.scores is not None
        assert completion.scores.tolist() == [[2.0 * completion.id]] * 3
        assert completion.stages_ns["run"] == 5
        assert completion.stages_ns["round_trip"] > 0 <= completion.stages_ns["client_wait"]


def test_connections_are_kept_and_bounded(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    server.answer = after(partial(time.sleep, 0.01))
    sut = connect(connections=3)
    assert len(ask(sut, 30)) == 30
    assert server.connections <= 1 + 3  # one for the metadata


@pytest.mark.parametrize(
    ("status", "want"), [(503, "queue_full"), (504, "deadline"), (500, "error"), (400, "error")]
)
def test_http_statuses(
    server: ScriptedServer, connect: Callable[..., HttpSUT], status: int, want: str
) -> None:
    server.answer = lambda request, blobs: respond(status, b'{"error": "why"}')
    sut = connect()
    for completion in ask(sut, 5):
        assert completion.status == want
        assert completion.error == f"HTTP {status}: why"
        assert completion.scores is None
    assert server.connections <= 5


def test_the_deadline_goes_along_as_the_time_that_is_left(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    sut, collector = connect(), Collector()
    now_ns = time.monotonic_ns()
    for deadline_ns in (None, now_ns + 60_000_000_000, now_ns - 1):
        sut.issue(replace(query(1, 3), deadline_ns=deadline_ns), collector.done)
        collector.wait(len(server.requests))
        time.sleep(0.05)
    collector.wait(3)
    timeouts = [request["parameters"].get("timeout") for request in server.requests]
    assert timeouts[0] is None and timeouts[2] == 1
    assert 50_000_000 < timeouts[1] <= 60_000_000


def babble(request: dict, blobs: bytes) -> bytes | None:
    return b"SMTP ready\r\n\r\n"


def cut_short(request: dict, blobs: bytes) -> bytes | None:
    return respond(200, b"{}")


def too_much(request: dict, blobs: bytes) -> bytes | None:
    return scores_of(request, blobs) + b"more"


def enormous(request: dict, blobs: bytes) -> bytes | None:
    return respond(200, b"").replace(b"Length: 0", b"Length: 99999999999")


@pytest.mark.parametrize("broken", [hang_up, babble, cut_short, too_much, enormous])
def test_a_broken_server_is_an_error_and_the_next_query_reconnects(
    server: ScriptedServer, connect: Callable[..., HttpSUT], broken: Answer
) -> None:
    sut = connect(connections=2)
    server.answer = broken
    for completion in ask(sut, 10):
        assert completion.status == "error"
        assert "connection lost" in completion.error or "bad" in completion.error
    server.answer = scores_of
    assert [c.status for c in ask(sut, 10)] == ["ok"] * 10


def test_connection_close_is_obeyed(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    server.answer = lambda request, blobs: scores_of(request, blobs).replace(
        b"Content-Length", b"Connection: close\r\nContent-Length", 1
    )
    sut = connect()
    assert [c.status for c in ask(sut, 12)] == ["ok"] * 12
    assert server.connections >= 12


def test_a_silent_server_is_given_up_on(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    free = threading.Event()
    server.answer = after(partial(free.wait, 10), hang_up)
    got = ask(connect(connections=2, request_timeout_s=0.2), 6)
    free.set()
    assert {c.status for c in got} == {"error"}
    assert all("no answer within 0.2 s" in c.error for c in got)


def test_waiting_queries_are_bounded(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    free = threading.Event()
    server.answer = after(partial(free.wait, 10))
    sut, collector = connect(connections=1, opened=1, max_waiting=5), Collector()
    for i in range(30):
        sut.issue(query(i, 3), collector.done)
        time.sleep(0.001)
    refused = collector.wait(24)
    assert all("queue is full" in c.error for c in refused)
    free.set()
    got = collector.wait(30)
    assert sum(c.status == "ok" for c in got) == 6


def test_a_server_that_is_gone_is_an_error_for_every_query(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    sut = connect()
    while server.connections < 1 + 2:  # one for the metadata
        time.sleep(0.001)
    server.close()
    got = ask(sut, 20)
    assert {c.status for c in got} == {"error"}
    assert any("cannot connect" in c.error for c in got)


def test_close_ends_what_is_under_way_once(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    free = threading.Event()
    server.answer = after(partial(free.wait, 10), hang_up)
    sut, collector = connect(connections=2), Collector()
    for i in range(10):
        sut.issue(query(i, 3), collector.done)
    time.sleep(0.05)
    sut.close()
    sut.close()
    free.set()
    sut.issue(query(10, 3), collector.done)
    got = collector.wait(11)
    assert sorted(c.id for c in got) == list(range(11))
    assert {c.status for c in got} == {"shutting_down"}


def test_prepared_queries_are_encoded_once(connect: Callable[..., HttpSUT]) -> None:
    sut = connect()
    rows = np.array([3, 3, 3, 5, 5, 3])
    queries = traffic.make_queries(query, rows, per_size=1)
    held = sut.prepare(queries)
    assert sut.prepare(queries) == held
    assert len(sut._prepared) == 2
    result = drive(sut, queries, np.arange(6) * 1_000_000, config=DriverConfig(warmup=0))
    assert [STATUSES[s] for s in result.status] == ["ok"] * 6
    assert (result.stages_ns["round_trip"] > 0).all()


def test_a_batch_that_cannot_be_encoded_is_an_error_of_its_query(
    connect: Callable[..., HttpSUT],
) -> None:
    bad: Batch = empty_query(0, 3).batch.replace(dense=np.zeros((3, 1)))
    queries, at = [query(0, 3), Query(1, bad)], np.zeros(2, np.int64)
    result = drive(connect(), queries, at, config=DriverConfig(warmup=0, whole=False))
    assert [STATUSES[s] for s in result.status] == ["ok", "error"]
    with pytest.raises(BatchError, match="got float64 - at `dense`"):
        drive(connect(), queries, at, config=DriverConfig(warmup=0))


def load_server(url: str, count: int) -> LoadResult:
    """A whole run, for a process of its own."""
    plan = traffic.make_traffic(2000.0, count, seed=0)
    sut = HttpSUT(HttpConfig(url, "rm2"))
    try:
        queries = traffic.make_queries(query, plan.rows, per_size=1)
        sut.prepare(queries)
        return drive(sut, queries, plan.scheduled_ns, config=DriverConfig(warmup=0))
    finally:
        sut.close()


def test_a_run_in_a_process_of_its_own(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.syspath_prepend(str(__file__).rpartition("/")[0])
        import test_http  # type: ignore[import-not-found]

        result = run_apart(test_http.load_server, server.url, 200, timeout_s=120.0)
    assert (result.status == 0).all()


def test_a_model_or_server_that_is_not_there_is_refused(server: ScriptedServer) -> None:
    assert fetch_metadata(HttpConfig(server.url, "rm2")) == META
    with pytest.raises(ConfigError, match="HTTP 404: unknown model"):
        HttpSUT(HttpConfig(server.url, "nope"))
    server.close()
    with pytest.raises(ConfigError, match="cannot reach"):
        HttpSUT(HttpConfig(server.url, "rm2"))


@pytest.mark.parametrize(
    "url", ["", "localhost:80", "https://h:1", "http://", "http://h:x", "http://h/v2"]
)
def test_a_bad_url_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected http://host:port"):
        HttpConfig(url, "m")


def test_bad_bounds_are_refused() -> None:
    for change in ({"connections": 0}, {"opened": 999}, {"max_waiting": 0}):
        with pytest.raises(ConfigError, match="expected"):
            HttpConfig("http://h:1", "m", **change)


def send(sut: HttpSUT, count: int = 20, gap_ns: int = 500_000, **config: object) -> LoadResult:
    """A whole schedule, issued by the calling thread."""
    chosen = DriverConfig(warmup=0, **config)  # type: ignore[arg-type]
    return drive(sut, [query(i, 3) for i in range(count)], gap_ns * np.arange(count), config=chosen)


def statuses(result: LoadResult) -> set[str]:
    return {STATUSES[s] for s in result.status}


def test_a_whole_schedule_is_answered_in_time_and_in_stages(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    result = send(connect(), 100)
    assert statuses(result) == {"ok"}
    assert (result.issued_ns >= result.scheduled_ns).all()
    assert (result.finished_ns > result.issued_ns).all()
    assert (result.stages_ns["run"] == 5).all()
    whole = result.stages_ns["client_wait"] + result.stages_ns["round_trip"]
    assert (whole == result.finished_ns - result.issued_ns).all()
    assert sorted(r["inputs"][0]["shape"][0] for r in server.requests) == [3] * 100


def test_a_servers_name_is_looked_up(server: ScriptedServer) -> None:
    named = HttpConfig(server.url.replace("127.0.0.1", "localhost"), "rm2", opened=1)
    with contextlib.closing(HttpSUT(named, META)) as sut:
        assert statuses(send(sut)) == {"ok"}
    unknown = HttpConfig("http://no-such-host.invalid:1", "rm2", opened=0)
    with (
        contextlib.closing(HttpSUT(unknown, META)) as sut,
        pytest.raises(ConfigError, match="cannot reach"),
    ):
        send(sut)


def test_a_whole_schedule_uses_as_many_connections_as_it_may(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    server.answer = after(partial(time.sleep, 0.02))
    sut = connect(connections=3, opened=1)
    before = server.connections
    result = send(sut, 12, gap_ns=0)
    assert statuses(result) == {"ok"}
    assert server.connections - before <= 3 + 2  # its event loop's, and one that only looks
    assert result.stages_ns["client_wait"].max() > 20_000_000


@pytest.mark.parametrize(
    ("status", "want"), [(503, "queue_full"), (504, "deadline"), (500, "error")]
)
def test_a_whole_schedules_statuses(
    server: ScriptedServer, connect: Callable[..., HttpSUT], status: int, want: str
) -> None:
    server.answer = lambda request, blobs: respond(status, b'{"error": "why"}')
    result = send(connect())
    assert statuses(result) == {want} and result.errors == (f"HTTP {status}: why",)


@pytest.mark.parametrize("broken", [hang_up, babble, cut_short, too_much, enormous])
def test_a_whole_schedule_outlives_a_broken_server(
    server: ScriptedServer, connect: Callable[..., HttpSUT], broken: Answer
) -> None:
    turns = iter(range(1000))
    server.answer = lambda request, blobs: (
        broken(request, blobs) if next(turns) % 2 else scores_of(request, blobs)
    )
    result = send(connect(), 30)
    assert statuses(result) == {"ok", "error"} and result.errors


def test_a_whole_schedule_gives_up_on_a_silent_server(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    free = threading.Event()
    server.answer = after(partial(free.wait, 10), hang_up)
    given_up = send(connect(connections=2, request_timeout_s=0.2), 6)
    assert statuses(given_up) == {"error"}
    assert all("no answer within 0.2 s" in error for error in given_up.errors)
    lost = send(connect(connections=2), 6, drain_ns=100_000_000)
    assert statuses(lost) == {"lost"}
    full = send(
        connect(connections=1, opened=1, max_waiting=2, request_timeout_s=0.2), 20, gap_ns=0
    )
    assert any("queue is full" in error for error in full.errors)
    free.set()


def test_a_whole_schedule_without_a_server_ends_in_errors(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    sut = connect()
    server.close()
    time.sleep(0.05)
    result = send(sut)
    assert statuses(result) == {"error"}
    assert any("cannot connect" in e or "connection lost" in e for e in result.errors)


def test_a_request_larger_than_the_sockets_buffer_goes_in_pieces(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    big = [Query(i, empty_query(i, 200_000).batch.replace(dense=np.ones((200_000, 8), np.float32)))
           for i in range(3)]  # fmt: skip
    result = drive(connect(), big, np.zeros(3, np.int64), config=DriverConfig(warmup=0))
    assert statuses(result) == {"ok"}


def test_the_deadline_of_a_whole_schedule_counts_from_its_times(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    send(connect(), 5, deadline_ns=60_000_000_000)
    for request in server.requests:
        assert 50_000_000 < request["parameters"]["timeout"] <= 60_000_000


def test_a_whole_schedules_answers_may_come_byte_by_byte(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    server.piece_bytes = 1
    result = send(connect(), 20)
    assert statuses(result) == {"ok"}
    assert (result.stages_ns["run"] == 5).all()


@pytest.mark.parametrize("bytes_over", [-200, 200])
def test_heads_are_bounded(
    server: ScriptedServer, connect: Callable[..., HttpSUT], bytes_over: int
) -> None:
    long = f"X-Long: {'x' * (MAX_HEAD_BYTES + bytes_over)}\r\nContent-Length".encode()
    server.answer = lambda request, blobs: scores_of(request, blobs).replace(
        b"Content-Length", long, 1
    )
    result = send(connect(), 5)
    assert statuses(result) == {"error" if bytes_over > 0 else "ok"}
    assert all("expected a head of at most" in error for error in result.errors)


def test_a_slow_server_does_not_make_the_sender_late(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    server.answer = after(partial(time.sleep, 0.02))
    result = send(connect(connections=2), 60, gap_ns=2_000_000)
    assert statuses(result) == {"ok"}
    late_ns = result.issued_ns - result.scheduled_ns
    assert summarise(result).lateness_p99_ns == np.quantile(late_ns, 0.99, method="higher")
    assert np.median(late_ns) < 2_000_000 < 20_000_000 < result.stages_ns["client_wait"].max()


def test_an_interrupt_ends_a_whole_schedule(
    server: ScriptedServer, connect: Callable[..., HttpSUT], request: pytest.FixtureRequest
) -> None:
    # A process that was started in the background ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    server.answer = after(_thread.interrupt_main)
    sut, began = connect(), time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        send(sut, 2, gap_ns=3_600_000_000_000)
    assert time.monotonic() - began < 3.0
    server.answer = scores_of
    assert statuses(send(sut)) == {"ok"}


def broken_answers(count: int) -> list[bytes]:
    """Answers to three rows with a piece taken out, doubled or put in, mostly in the head."""
    whole = scores_of({"inputs": [{"name": "dense", "shape": [3, 2]}]}, bytes(24))
    pieces = [b"\r\n", b"\r\n\r\n", b":", b" ", b"\n", b"\xa0", b"1", b"HTTP/1.0 "]
    pieces += [b"HTTP/1.1 100 Continue\r\n\r\n", b"\r\nTransfer-Encoding: chunked"]
    pieces += [b"\r\nContent-Length: 3", b"\r\nConnection: close", b"\r\ncontent-LENGTH : 225"]
    rng, made = np.random.default_rng(0), []
    for _ in range(count):
        reply = whole
        for _ in range(rng.integers(1, 3)):
            at = int(rng.integers(0, 60 if rng.random() < 0.8 else len(reply)))
            end = at + int(rng.integers(0, 4))
            piece = (b"", reply[at:end] * 2, pieces[rng.integers(len(pieces))])[rng.integers(3)]
            reply = reply[:at] + piece + reply[end:]
        made.append(reply or b"?")
    return made


def test_the_sender_finds_the_same_ends_as_the_reader(
    server: ScriptedServer, connect: Callable[..., HttpSUT]
) -> None:
    """What is whole or bad is answered at once, what is neither yet is waited for."""
    replies = broken_answers(300)
    server.answer = lambda request, blobs: replies[int(np.frombuffer(blobs, "<f4", 1)[0])]
    sut = connect(connections=400, opened=100, request_timeout_s=1.0)
    result = send(sut, len(replies), gap_ns=1_000_000)
    waited = (result.finished_ns - result.issued_ns) >= 1_000_000_000
    found: dict[bool | None, int] = {}
    for i, reply in enumerate(replies):
        try:
            response = ResponseReader(1 << 20).feed(reply)
            ok = None if response is None else read_answer(response, "scores", 3).status == "ok"
        except ValueError:
            ok = False
        assert (STATUSES[result.status[i]] == "ok") == bool(ok), reply
        assert waited[i] == (ok is None), reply
        found[ok] = found.get(ok, 0) + 1
    assert min(found.values()) >= 10 and len(found) == 3
