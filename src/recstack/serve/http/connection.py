"""One client: reads requests, keeps replies in their order, enforces the limits.

A connection is IDLE between requests, in HEAD and BODY while one is being read, and CLOSING once no
further request is wanted; input is then read and dropped, so that the last reply is not lost to a
reset. Requests may be answered in any order and are sent in the order of asking.
"""

from __future__ import annotations

import asyncio
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, cast

from recstack.serve.http.exchange import Exchange
from recstack.serve.http.fault import log_fault
from recstack.serve.http.head import Head
from recstack.serve.http.parser import Parser
from recstack.serve.http.pipeline import Pipeline
from recstack.serve.http.reply import CONTINUE
from recstack.serve.http.status import RETRY, HttpError
from recstack.serve.protocol.reply import error_body

if TYPE_CHECKING:
    from recstack.serve.http.hub import Hub


class Phase(IntEnum):
    """Where a connection stands."""

    IDLE = 0
    HEAD = 1
    BODY = 2
    CLOSING = 3


IDLE, HEAD, BODY, CLOSING = Phase.IDLE, Phase.HEAD, Phase.BODY, Phase.CLOSING
MAX_CHUNK_OVERHEAD = 16  # bytes of chunk framing per byte of body; single-byte chunks need 5


class Connection(asyncio.Protocol):
    """The server's end of one TCP connection; every method runs on the loop's thread."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._config = hub.config
        self._parser = Parser(self)
        self._phase = IDLE
        self._limit_s = inf
        self._head = Head()
        self._body: bytes | bytearray = b""
        self._unfinished_bytes = 0
        self._pipeline = Pipeline(hub.handle, hub.config.max_pipeline)
        self._reading = True
        self._write_blocked = False
        self._half_closed = False
        self._owes_continue = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or turn it away where there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        hub = self._hub
        hub.connections.add(self)
        self._set_limit(self._config.idle_timeout_s)
        if hub.draining:
            self._close()
        elif len(hub.connections) > self._config.max_connections:
            if len(hub.connections) > 2 * self._config.max_connections:
                self.abort()
            else:
                most = self._config.max_connections
                self._reject(HttpError(503, f"all {most} connections are taken", headers=RETRY))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; what is in flight for it is dropped when it completes."""
        self._phase = CLOSING
        self._hub.connections.discard(self)
        self._drop_unfinished()
        self._hub.buffered_bytes -= self._pipeline.forget()

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._phase == CLOSING:
            return
        head, phase, before = self._head, self._phase, self._unfinished_bytes
        try:
            self._parser.feed(data)
            if head is self._head and phase == self._phase != IDLE:
                overhead = len(data) - (self._unfinished_bytes - before)
                allowed = self._config.max_head_bytes + MAX_CHUNK_OVERHEAD * self._unfinished_bytes
                head.count_raw(overhead, allowed)
        except HttpError as error:
            if self._phase != CLOSING:
                self._reject(error)
        except Exception as error:
            log_fault(error)
            self._reject(HttpError(500, "internal error"))
        self._pace()

    def eof_received(self) -> bool:
        """The client sends no more; it may still be waiting for replies."""
        self._half_closed = True
        if self._phase in (HEAD, BODY):
            where = "headers" if self._phase == HEAD else "body"
            self._reject(HttpError(400, "expected a whole request, got a part", where))
        if self._pipeline.empty:
            return False
        self._phase = CLOSING
        self._limit_s = inf
        return True

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        self._write_blocked = True
        self._write_limit_s = self._hub.loop.time() + self._config.write_timeout_s
        self._pace()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_blocked = False
        self._begin_waiting()

    # the parser's events

    def on_message_begin(self) -> None:
        """A request's first byte."""
        self._phase = HEAD
        self._head = Head()
        self._set_limit(self._config.head_timeout_s)

    def on_url(self, part: bytes) -> None:
        """A piece of the target."""
        self._head.add_target(part, self._config.max_head_bytes)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or a trailer, which is dropped."""
        if self._phase == HEAD:
            self._head.add(name, value, self._config.max_head_bytes)

    def on_headers_complete(self) -> None:
        """The body follows, if there is one."""
        head = self._head
        head.check(self._parser.version(), self._config.max_body_bytes)
        if self._parser.upgrade() and head.has_body:
            raise HttpError(501, "expected an upgrade without a body, got one", "upgrade")
        self._phase = BODY
        self._body = b""
        self._set_limit(self._config.body_timeout_s)
        if head.expects_continue:
            self._owes_continue = True
            self._send_continue()

    def on_body(self, part: bytes) -> None:
        """A piece of the body; small pieces go into one growing buffer."""
        size = len(self._body) + len(part)
        if size > self._config.max_body_bytes:
            most = self._config.max_body_bytes
            raise HttpError(413, f"expected at most {most} bytes, got more", "body")
        self._hub.hold(len(part))
        self._unfinished_bytes = size
        if not self._body:
            self._body = part
        elif isinstance(self._body, bytearray):
            self._body += part
        else:
            self._body = bytearray(self._body) + part

    def on_message_complete(self) -> None:
        """A whole request."""
        head, body = self._head, self._body
        self._owes_continue = False
        self._body, self._unfinished_bytes = b"", 0
        keep_alive = self._parser.keep_alive()
        exchange = Exchange(
            self,
            self._parser.method(),
            head.target,
            head.headers,
            body,
            self._hub.clock.now_ns(),
            keep_alive=keep_alive,
            old=head.old,
        )
        self._phase = IDLE if keep_alive else CLOSING
        self._limit_s = inf
        self._pipeline.add(exchange)
        self._begin_waiting()

    # replies

    @property
    def date(self) -> bytes:
        """The value of a Date header."""
        return self._hub.date

    @property
    def closing_soon(self) -> bool:
        """Whether a reply made now should announce the end of the connection."""
        return self._hub.draining

    def hold(self, size_bytes: int) -> None:
        """See `Hub.hold`."""
        self._hub.hold(size_bytes)

    def answered(self, exchange: Exchange) -> None:
        """Called by an exchange that has its reply."""
        self._hub.buffered_bytes -= exchange.held_bytes
        exchange.body = b""
        self._pipeline.answered()
        self._flush()
        self._begin_waiting()

    def _flush(self) -> None:
        """Send the replies whose turn it is."""
        data, close = self._pipeline.ready()
        if data:
            self._transport.write(data)
        if close or (self._half_closed and self._pipeline.empty):
            self._close()
        elif self._pipeline.empty:
            self._send_continue()
            if self._phase == IDLE:
                self._set_limit(self._config.idle_timeout_s)
                if self._hub.draining:
                    self._close()

    def _begin_waiting(self) -> None:
        self._pipeline.begin_waiting(lambda: self._write_blocked)
        self._pace()

    def _send_continue(self) -> None:
        if self._owes_continue and self._pipeline.empty and self._phase == BODY:
            self._owes_continue = False
            self._transport.write(CONTINUE)

    def _reject(self, error: HttpError) -> None:
        """Answer a request that could not be read, after those before it, and end."""
        self._drop_unfinished()
        self._phase = CLOSING
        self._limit_s = inf
        exchange = Exchange(self, b"", b"", {}, b"", 0, keep_alive=False, old=False)
        self._pipeline.add_begun(exchange)
        exchange.observe = self._hub.app.rejected
        exchange.respond(error.status, error_body(str(error), error.where), headers=error.headers)

    # ends and limits

    def drain(self) -> None:
        """End after the requests that have been begun."""
        if self._phase == IDLE and self._pipeline.empty:
            self._close()

    def abort(self) -> None:
        """End now."""
        self._transport.abort()

    def check_time(self, now: float) -> None:
        """Give up on a client that has taken too long."""
        if self._write_blocked:
            if now > self._write_limit_s:
                self.abort()
            return
        if now <= self._limit_s or not self._reading:
            return
        if self._phase == CLOSING:
            self.abort()
        elif self._phase == IDLE:
            self._close()
        elif self._phase == HEAD:
            limit_s = self._config.head_timeout_s
            self._reject(HttpError(408, f"expected the headers within {limit_s:g} s", "headers"))
        elif now > self._limit_s + self._unfinished_bytes / self._config.min_body_bytes_per_s:
            self._reject(HttpError(408, "expected the body sooner, got it too slowly", "body"))

    def _close(self) -> None:
        """Send what is buffered and an end, then drop input until the client ends or time is up."""
        self._phase = CLOSING
        self._hub.buffered_bytes -= self._pipeline.forget()
        self._set_limit(self._config.linger_s)
        if self._half_closed or self._hub.draining:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
        self._pace()

    def _pace(self) -> None:
        """Read on, unless requests wait or the client does not take its replies."""
        want = self._phase == CLOSING or not (self._pipeline.waits or self._write_blocked)
        if want != self._reading and not self._transport.is_closing():
            self._reading = want
            if want:
                self._transport.resume_reading()
                if self._phase == HEAD:
                    self._set_limit(self._config.head_timeout_s)
                elif self._phase == BODY:
                    self._set_limit(self._config.body_timeout_s)
            else:
                self._transport.pause_reading()

    def _drop_unfinished(self) -> None:
        self._hub.buffered_bytes -= self._unfinished_bytes
        self._body, self._unfinished_bytes = b"", 0

    def _set_limit(self, seconds: float) -> None:
        self._limit_s = self._hub.loop.time() + seconds
