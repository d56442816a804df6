"""One request and its reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from recstack.serve.http.reply import JSON, render

if TYPE_CHECKING:
    from recstack.serve.http.connection import Connection

KEEP_ALIVE = b"Connection: keep-alive\r\n"
CLOSE = b"Connection: close\r\n"


class Exchange:
    """A request that has been read whole, to be answered once by `respond`, on the loop's thread.

    target: the request line's target as sent. headers: by lower-case name; of a name that came
    twice, the values joined by `, `. body: bytes that nobody changes any more.
    held_bytes: of the body, counted until the reply. status: of the reply, 0 before it. observe:
    called with the exchange once it is answered.
    """

    __slots__ = (
        "_connection",
        "_old",
        "body",
        "close",
        "data",
        "headers",
        "held_bytes",
        "method",
        "observe",
        "received_ns",
        "status",
        "target",
    )

    def __init__(
        self,
        connection: Connection,
        method: bytes,
        target: bytes,
        headers: dict[bytes, bytes],
        body: bytes | bytearray,
        received_ns: int,
        *,
        keep_alive: bool,
        old: bool,
    ) -> None:
        self._connection = connection
        self._old = old
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.received_ns = received_ns
        self.close = not keep_alive
        self.data: bytes | None = None
        self.held_bytes = len(body)
        self.status = 0
        self.observe: Callable[[Exchange], None] | None = None

    def hold(self, size_bytes: int) -> None:
        """Count what the body has grown by; HttpError 503 where the process holds too much."""
        self._connection.hold(size_bytes)
        self.held_bytes += size_bytes

    def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: bytes = JSON,
        headers: bytes = b"",
        tail: bytes = b"",
    ) -> None:
        """Answer; a second call does nothing, and neither does one after the client has gone."""
        if self.data is not None:
            return
        connection = self._connection
        self.close = self.close or connection.closing_soon
        self.status = status
        self.data = render(
            status,
            body,
            content_type,
            headers,
            date=connection.date,
            tail=tail,
            connection=CLOSE if self.close else KEEP_ALIVE if self._old else b"",
            head_only=self.method == b"HEAD",
        )
        if self.observe is not None:
            self.observe(self)
        connection.answered(self)


class App(Protocol):
    """What answers requests. All are called on the loop's thread and must not block."""

    def __call__(self, exchange: Exchange) -> None:
        """Answer `exchange`, now or later."""
        ...

    def rejected(self, exchange: Exchange) -> None:
        """Told of a request that could not be read and has been answered with an error."""
        ...

    def sweep(self, now_ns: int) -> None:
        """Called now and then, to give up what has waited too long."""
        ...
