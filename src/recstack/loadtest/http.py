"""An inference server over HTTP/1.1 as a system under test.

Requests are encoded before the run (`prepare`) and sent on kept-alive connections, one at a time on
each: a whole schedule by a native thread (`http_run`), single queries by an event loop in a thread
of its own. Everything is bounded: connections, waiting queries, time, sizes. A transport error ends
its query with status "error" and its connection with it; a new one is opened when needed. Nothing
is sent twice.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.loadtest.connection import Connection, Job
from recstack.loadtest.endpoint import HttpConfig, fetch_metadata, read_answer
from recstack.loadtest.http1 import Response
from recstack.loadtest.http_run import send_schedule
from recstack.loadtest.oip import Encoder, Message, Metadata
from recstack.types import Completion, Issued, Query


class HttpSUT:
    """A model on a server, as a system under test; see the module's docstring.

    Each completion carries the stages `client_wait` (until a connection was free), `round_trip`
    and those that the server reports. HTTP 503 is "queue_full", 504 is "deadline".

    Raises
    ------
    ConfigError: the server cannot be reached, does not know the model, or wants other inputs.
    """

    def __init__(self, config: HttpConfig, metadata: Metadata | None = None) -> None:
        self._config = config
        self._host, self._port = config.address()
        host = f"[{self._host}]" if ":" in self._host else self._host
        metadata = fetch_metadata(config) if metadata is None else metadata
        self._encoder = Encoder(metadata, f"{host}:{self._port}")
        # Batches are kept beside their messages, so that no other takes over an id.
        self._prepared: dict[int, tuple[Batch, Message]] = {}
        self._inbox: deque[Job] = deque()
        self._waiting: deque[Job] = deque()
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._opening: set[asyncio.Task[Connection]] = set()
        self._woken = self._closed = False
        self._loop = new_event_loop()
        self._thread = threading.Thread(target=self._run, name="load-http", daemon=True)
        self._thread.start()

    def prepare(self, queries: Iterable[Query]) -> int:
        """Encode the batches of these queries; the bytes held. Others are encoded when issued.

        Raises
        ------
        BatchError: a batch cannot be encoded for this model.
        """
        for query in queries:
            if id(query.batch) not in self._prepared:
                message = self._encoder.encode(query.batch)
                self._prepared[id(query.batch)] = query.batch, message
        return sum(len(m.before) + len(m.after) for _, m in self._prepared.values())

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        """Hand a query to the sending thread; `done` is called there."""
        now_ns = time.monotonic_ns()
        if self._closed:
            done(Completion(query.id, "shutting_down", now_ns))
            return
        prepared = self._prepared.get(id(query.batch))
        message = prepared[1] if prepared else self._encoder.encode(query.batch)
        self._inbox.append(Job(query, message, done, now_ns))
        if self._closed:  # meanwhile
            self._fail_inbox()
        elif not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._take)
            except RuntimeError:  # the loop is closed
                self._fail_inbox()

    def issue_schedule(
        self,
        batches: Sequence[Batch],
        which: NDArray[np.int32],
        scheduled_ns: NDArray[np.int64],
        *,
        lead_ns: int,
        deadline_ns: int | None,
        drain_ns: int,
    ) -> Issued:
        """A whole schedule, from a native thread over connections of its own (`http_run`)."""
        messages = [
            self._prepared[id(b)][1] if id(b) in self._prepared else self._encoder.encode(b)
            for b in batches
        ]
        return send_schedule(
            self._config, messages, which, scheduled_ns, output=self._encoder.output,
            lead_ns=lead_ns, deadline_ns=deadline_ns, drain_ns=drain_ns,
        )  # fmt: skip

    def close(self) -> None:
        """End what is under way with "shutting_down", close connections, end the thread."""
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._shut)
            self._thread.join(timeout=10.0)
            self._fail_inbox()

    # Below, all but _fail_inbox runs in the event loop's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        for _ in range(self._config.opened):
            self._connect()
        self._loop.call_later(self._sweep_s(), self._sweep)
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()

    def _take(self) -> None:
        self._woken = False  # before emptying: what comes in from here on wakes us again
        if self._closed:
            self._fail_inbox()
        while self._inbox:
            job = self._inbox.popleft()
            if len(self._waiting) >= self._config.max_waiting:
                job.end("error", "the client's queue is full: no free connection")
            else:
                self._waiting.append(job)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._idle:
            connection = self._idle.pop()
            if connection.usable:
                connection.send(self._waiting.popleft())
        room = self._config.connections - len(self._open) - len(self._opening)
        for _ in range(min(len(self._waiting) - len(self._opening), room)):
            self._connect()

    def _connect(self) -> None:
        task = self._loop.create_task(self._open_one())
        self._opening.add(task)
        task.add_done_callback(self._opened)

    async def _open_one(self) -> Connection:
        def connection() -> Connection:
            return Connection(self._config.max_response_bytes, self._answered, self._lost)

        opening = self._loop.create_connection(connection, self._host, self._port)
        return (await asyncio.wait_for(opening, self._config.connect_timeout_s))[1]

    def _opened(self, task: asyncio.Task[Connection]) -> None:
        self._opening.discard(task)
        if task.cancelled():
            return
        if error := task.exception():
            # While others are open, a query waits for one of them.
            if self._open or not self._waiting:
                return
            self._waiting.popleft().end("error", f"cannot connect: {error!r}")
        elif (connection := task.result()).usable:
            self._open.add(connection)
            self._idle.append(connection)
        self._send()

    def _answered(self, connection: Connection, job: Job, response: Response) -> None:
        if response.keeps_alive:
            self._idle.append(connection)
        else:
            connection.close()
        finish_ns = time.monotonic_ns()
        self._send()  # first: the next query waits, this one has its time
        job.done(self._completion(job, response, finish_ns))

    def _completion(self, job: Job, response: Response, finish_ns: int) -> Completion:
        stages = {
            "client_wait": job.sent_ns - job.issued_ns,
            "round_trip": finish_ns - job.sent_ns,
        }
        answer = read_answer(response, self._encoder.output, job.message.rows)
        return Completion(
            job.query.id, answer.status, finish_ns, answer.scores, answer.error,
            {**answer.stages_ns, **stages},
        )  # fmt: skip

    def _lost(self, connection: Connection, job: Job | None, reason: str) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if job:
            job.end("shutting_down" if self._closed else "error", reason)
        if not self._closed:
            self._send()

    def _sweep_s(self) -> float:
        return min(self._config.request_timeout_s / 10.0, 0.5)

    def _sweep(self) -> None:
        """End what took too long; in steps, because a timer per query costs more."""
        oldest_ns = time.monotonic_ns() - int(self._config.request_timeout_s * 1e9)
        reason = f"no answer within {self._config.request_timeout_s:g} s"
        for connection in list(self._open):
            if connection.job and connection.job.issued_ns < oldest_ns:
                connection.abort(reason)
        while self._waiting and self._waiting[0].issued_ns < oldest_ns:
            self._waiting.popleft().end("error", f"{reason}: no free connection")
        self._loop.call_later(self._sweep_s(), self._sweep)

    def _shut(self, turns: int = 200) -> None:
        """End everything; comes back until the last socket is closed, for at most two seconds."""
        while self._waiting:
            self._waiting.popleft().end("shutting_down")
        for task in list(self._opening):
            task.cancel()
        for connection in list(self._open):
            connection.abort("the client was closed")
        if turns and (self._open or self._opening):
            self._loop.call_later(0.01, self._shut, turns - 1)
        else:
            self._loop.call_soon(self._loop.stop)

    def _fail_inbox(self) -> None:
        while True:
            try:
                self._inbox.popleft().end("shutting_down")
            except IndexError:
                return


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed: the same answers at about half the CPU."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
