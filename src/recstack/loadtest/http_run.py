"""A whole schedule sent over HTTP by one thread: what `HttpSUT.issue_schedule` does.

Nothing but sockets between the schedule and the server: no event loop, no hand-over between
threads, and answers are kept as they come and decoded after the run. A client that shares the
server's cores takes less from it that way (`bench/load_client.py`).
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections import deque
from collections.abc import Sequence
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from recstack.loadtest.endpoint import Answer, HttpConfig, reached, read_answer
from recstack.loadtest.http1 import Response, ResponseReader
from recstack.loadtest.oip import Message
from recstack.types import Issued, Status

SWEEP_NS = 50_000_000
RECEIVE_BYTES = 1 << 18
MAX_ERRORS = 8
_CODES = {status: code for code, status in enumerate(get_args(Status))}


class _Line:
    """A connection: its socket, the query on it (-1: none), and what of that is not sent yet."""

    __slots__ = ("connected", "query", "reader", "since_ns", "sock", "unsent")

    def __init__(self, sock: socket.socket, reader: ResponseReader) -> None:
        self.sock = sock
        self.reader = reader
        self.connected = False
        self.query = -1
        self.unsent: memoryview | None = None
        self.since_ns = time.monotonic_ns()


class HttpRun:
    """One run; see `recstack.types.ScheduleSUT` for the arguments of `run`.

    messages: the encoded batches. output: the answer's output to read.
    """

    def __init__(
        self, config: HttpConfig, messages: Sequence[Message], which: NDArray[np.int32], output: str
    ) -> None:
        self._config = config
        self._output = output
        self._family, self._address = reached(config)
        self._messages = messages
        self._which = which.tolist()
        n = len(self._which)
        self._left = n
        self._issued_ns, self._sent_ns, self._finished_ns = [-1] * n, [-1] * n, [-1] * n
        self._deadlines_ns: list[int] | None = None
        self._answers: list[Response | str | None] = [None] * n
        self._waiting: deque[int] = deque()
        self._lines: dict[int, _Line] = {}
        self._idle: list[_Line] = []
        self._opening = 0
        self._poll = select.epoll()

    def run(
        self,
        scheduled_ns: NDArray[np.int64],
        lead_ns: int,
        deadline_ns: int | None,
        drain_ns: int,
    ) -> Issued:
        """Send everything at its time; returns when all is answered, or `drain_ns` later."""
        try:
            self._open_first()
            start_ns = time.monotonic_ns() + lead_ns
            due_ns = (scheduled_ns + start_ns).tolist()
            if deadline_ns is not None:
                self._deadlines_ns = [due + deadline_ns for due in due_ns]
            self._loop(due_ns, due_ns[-1] + drain_ns)
        finally:
            for line in self._lines.values():
                line.sock.close()
            self._poll.close()
        return self._result(start_ns)

    def _open_first(self) -> None:
        for _ in range(self._config.opened):
            self._connect()
        until_ns = time.monotonic_ns() + int(self._config.connect_timeout_s * 1e9)
        while self._opening and (left_ns := until_ns - time.monotonic_ns()) > 0:
            self._take_events(left_ns)

    def _loop(self, due_ns: list[int], until_ns: int) -> None:
        n, i, sweep_ns = len(due_ns), 0, 0
        while self._left:
            now_ns = time.monotonic_ns()
            while i < n and due_ns[i] <= now_ns:
                self._issued_ns[i] = now_ns
                if len(self._waiting) < self._config.max_waiting:
                    self._waiting.append(i)
                else:
                    self._end(i, "the client's queue is full: no free connection")
                i += 1
            self._send_waiting()
            if i == n and now_ns >= until_ns:
                return
            if now_ns >= sweep_ns:
                self._sweep(now_ns)
                sweep_ns = now_ns + SWEEP_NS
            wake_ns = min(due_ns[i] if i < n else until_ns, sweep_ns)
            self._take_events(wake_ns - time.monotonic_ns())

    def _take_events(self, wait_ns: int) -> None:
        # epoll alone would round the wait up to milliseconds.
        ready, _, _ = select.select((self._poll.fileno(),), (), (), max(wait_ns, 0) / 1e9)
        if not ready:
            return
        for fd, events in self._poll.poll(0):
            line = self._lines.get(fd)
            if line is None:
                continue
            try:
                if not line.connected:
                    self._connected(line)
                    continue
                if line.unsent is not None and events & select.EPOLLOUT:
                    self._push(line)
                if events & ~select.EPOLLOUT:
                    self._receive(line)
            except BlockingIOError:  # woken for nothing
                continue
            except OSError as error:
                self._drop(line, f"connection lost: {error}")
        self._send_waiting()

    def _connect(self) -> None:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = _Line(sock, ResponseReader(self._config.max_response_bytes))
        self._lines[sock.fileno()] = line
        self._opening += 1
        code = sock.connect_ex(self._address)
        self._poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
        if code not in (0, errno.EINPROGRESS):
            self._drop(line, f"cannot connect: {os.strerror(code)}")

    def _connected(self, line: _Line) -> None:
        if code := line.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._drop(line, f"cannot connect: {os.strerror(code)}")
            return
        line.connected = True
        self._opening -= 1
        self._poll.modify(line.sock.fileno(), select.EPOLLIN)
        self._idle.append(line)

    def _send_waiting(self) -> None:
        while self._waiting and self._idle:
            self._send(self._idle.pop(), self._waiting.popleft())
        room = self._config.connections - len(self._lines)
        for _ in range(min(len(self._waiting) - self._opening, room)):
            self._connect()

    def _send(self, line: _Line, i: int) -> None:
        now_ns = time.monotonic_ns()
        line.query, line.since_ns = i, now_ns
        self._sent_ns[i] = now_ns
        left_us = None
        if self._deadlines_ns is not None:
            left_us = max((self._deadlines_ns[i] - now_ns) // 1000, 1)
        parts = self._messages[self._which[i]].parts(left_us)
        try:
            sent = line.sock.sendmsg(parts)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._drop(line, f"connection lost: {error}")
            return
        if sent < sum(map(len, parts)):
            line.unsent = memoryview(b"".join(parts))[sent:]
            self._poll.modify(line.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _push(self, line: _Line) -> None:
        assert line.unsent is not None
        line.unsent = line.unsent[line.sock.send(line.unsent) :]
        if not line.unsent:
            line.unsent = None
            self._poll.modify(line.sock.fileno(), select.EPOLLIN)

    def _receive(self, line: _Line) -> None:
        data = line.sock.recv(RECEIVE_BYTES)
        if not data:
            self._drop(line, "connection lost: closed by the server")
        elif line.query < 0:
            self._drop(line, "the server sent something unasked")
        else:
            try:
                response = line.reader.feed(data)
            except ValueError as error:
                self._drop(line, f"bad response: {error}")
                return
            if response:
                i, line.query = line.query, -1
                self._end(i, response)
                if response.keeps_alive and line.unsent is None:
                    self._idle.append(line)
                else:
                    self._drop(line, "")

    def _drop(self, line: _Line, reason: str) -> None:
        del self._lines[line.sock.fileno()]
        line.sock.close()
        if line in self._idle:
            self._idle.remove(line)
        if not line.connected:
            self._opening -= 1
            # While others are open, a query waits for one of them.
            if self._waiting and not self._lines:
                self._end(self._waiting.popleft(), reason)
        elif line.query >= 0:
            self._end(line.query, reason)

    def _sweep(self, now_ns: int) -> None:
        reason = f"no answer within {self._config.request_timeout_s:g} s"
        oldest_ns = now_ns - int(self._config.request_timeout_s * 1e9)
        opening_ns = now_ns - int(self._config.connect_timeout_s * 1e9)
        for line in list(self._lines.values()):
            if line.query >= 0 and line.since_ns < oldest_ns:
                self._drop(line, reason)
            elif not line.connected and line.since_ns < opening_ns:
                self._drop(line, "cannot connect: timed out")
        while self._waiting and self._issued_ns[self._waiting[0]] < oldest_ns:
            self._end(self._waiting.popleft(), f"{reason}: no free connection")

    def _end(self, i: int, answer: Response | str) -> None:
        self._finished_ns[i] = time.monotonic_ns()
        self._answers[i] = answer
        self._left -= 1

    def _result(self, start_ns: int) -> Issued:
        n = len(self._which)
        status = np.full(n, len(_CODES), np.uint8)
        issued, sent, finished = (
            np.array(x, np.int64) for x in (self._issued_ns, self._sent_ns, self._finished_ns)
        )
        stages = {
            "client_wait": np.where(sent < 0, -1, sent - issued),
            "round_trip": np.where((sent < 0) | (finished < 0), -1, finished - sent),
        }
        errors: dict[str, None] = {}
        for i, answer in enumerate(self._answers):
            if answer is None:
                continue
            if isinstance(answer, str):
                found = Answer("error", None, answer, {})
            else:
                rows = self._messages[self._which[i]].rows
                found = read_answer(answer, self._output, rows)
            status[i] = _CODES[found.status]
            if found.error and len(errors) < MAX_ERRORS:
                errors[found.error] = None
            for name, duration_ns in found.stages_ns.items():
                if name not in stages:
                    stages[name] = np.full(n, -1, np.int64)
                stages[name][i] = duration_ns
        return Issued(start_ns, issued, finished, status, stages, tuple(errors))
