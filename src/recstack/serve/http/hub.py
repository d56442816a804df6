"""What all connections share: the listening sockets, the limits, the time keeping."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from email.utils import formatdate
from socket import socket

from recstack.serve.config import ServeConfig
from recstack.serve.http.connection import Connection
from recstack.serve.http.exchange import App, Exchange
from recstack.serve.http.fault import answer_fault, logger
from recstack.serve.http.status import RETRY, HttpError
from recstack.types import Clock


class Hub:
    """Accepts connections on `loop` and hands their requests to `app`."""

    def __init__(
        self, app: App, config: ServeConfig, clock: Clock, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.app = app
        self.config = config
        self.clock = clock
        self.loop = loop
        self.connections: set[Connection] = set()
        self.buffered_bytes = 0
        self.draining = False
        self.date = formatdate(usegmt=True).encode()
        self._server: asyncio.Server | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def sockets(self) -> Sequence[socket]:
        """The listening sockets."""
        return self._server.sockets if self._server else ()

    async def open(self, host: str) -> int:
        """Listen on `host`; returns the port. Raises OSError where the address cannot be bound."""
        config = self.config
        self._server = await self.loop.create_server(
            lambda: Connection(self), host, config.port, backlog=config.backlog
        )
        self._sweep = self.loop.call_later(config.sweep_period_s, self._on_sweep)
        return int(self.sockets[0].getsockname()[1])

    async def drain(self, hurry: asyncio.Event) -> None:
        """Accept no more, answer what is in flight, then close every connection.

        Waits at most `drain_timeout_s`, less once `hurry` is set.
        """
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.drain()
        end = self.loop.time() + self.config.drain_timeout_s
        while self.connections and self.loop.time() < end and not hurry.is_set():
            await asyncio.sleep(0.01)
        if left := len(self.connections):
            logger.warning("closed %d connections that were not done", left)
        for connection in list(self.connections):
            connection.abort()
        while self.connections:
            await asyncio.sleep(0)
        if self._sweep is not None:
            self._sweep.cancel()
        if self._server is not None:
            await self._server.wait_closed()

    def hold(self, size_bytes: int) -> None:
        """Count bytes of request bodies as held; HttpError 503 where they would be too many."""
        if self.buffered_bytes + size_bytes > self.config.max_buffered_bytes:
            raise HttpError(503, "too many requests are being read", headers=RETRY)
        self.buffered_bytes += size_bytes

    def handle(self, exchange: Exchange) -> None:
        """Have the app answer; a fault of ours is logged and answered with 500."""
        try:
            self.app(exchange)
        except Exception as error:
            answer_fault(exchange, error)

    def _on_sweep(self) -> None:
        now = self.loop.time()
        self.date = formatdate(usegmt=True).encode()
        for connection in list(self.connections):
            connection.check_time(now)
        self.app.sweep(self.clock.now_ns())
        self._sweep = self.loop.call_later(self.config.sweep_period_s, self._on_sweep)
