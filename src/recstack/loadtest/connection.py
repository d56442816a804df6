"""One kept-alive connection to an inference server, with at most one query on it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from recstack.loadtest.http1 import Response, ResponseReader
from recstack.loadtest.oip import Message
from recstack.types import Completion, Query, Status


@dataclass(slots=True, eq=False)
class Job:
    """A query on its way: when it was issued, and when it was sent (0: not yet)."""

    query: Query
    message: Message
    done: Callable[[Completion], None]
    issued_ns: int
    sent_ns: int = 0

    def end(self, status: Status, error: str = "") -> None:
        """Complete it without scores."""
        self.done(Completion(self.query.id, status, time.monotonic_ns(), error=error))

    def timeout_us(self, now_ns: int) -> int | None:
        """Microseconds left to its deadline, at least 1; None without one."""
        if self.query.deadline_ns is None:
            return None
        return max((self.query.deadline_ns - now_ns) // 1000, 1)


class Connection(asyncio.Protocol):
    """Sends a job, reads its response, says so; says once when it is gone.

    Parameters
    ----------
    answered: called with the job and its response; `job` is None again by then.
    lost: called once with the job that was on it, or None, and the reason.
    """

    def __init__(
        self,
        max_response_bytes: int,
        answered: Callable[[Connection, Job, Response], None],
        lost: Callable[[Connection, Job | None, str], None],
    ) -> None:
        self.job: Job | None = None
        self._reader = ResponseReader(max_response_bytes)
        self._answered = answered
        self._on_lost = lost
        self._reason = ""
        self._transport: asyncio.Transport | None = None

    @property
    def usable(self) -> bool:
        """Whether it is open."""
        return self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = cast(asyncio.Transport, transport)

    def send(self, job: Job) -> None:
        """Send a job's request; the connection must be idle."""
        assert self.job is None and self._transport is not None
        self.job = job
        job.sent_ns = time.monotonic_ns()
        self._transport.writelines(job.message.parts(job.timeout_us(job.sent_ns)))

    def data_received(self, data: bytes) -> None:
        """Read on; a byte out of turn ends the connection (asyncio calls this)."""
        if self._reason:
            return
        if self.job is None:
            self.abort("the server sent something unasked")
            return
        try:
            response = self._reader.feed(data)
        except ValueError as error:
            self.abort(f"bad response: {error}")
            return
        if response:
            job, self.job = self.job, None
            self._answered(self, job, response)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report it (asyncio calls this)."""
        job, self.job = self.job, None
        self._on_lost(
            self, job, self._reason or f"connection lost: {exc or 'closed by the server'}"
        )

    def close(self) -> None:
        """Close after what was written."""
        if self._transport:
            self._transport.close()

    def abort(self, reason: str) -> None:
        """Close at once; `lost` follows."""
        self._reason = reason
        if self._transport:
            self._transport.abort()
