"""The requests of one connection: begun in order, a few at a time, and answered in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from recstack.serve.http.exchange import Exchange


class Pipeline:
    """Requests read and not yet answered, oldest first.

    begin: has one request answered, now or later. limit: how many are worked on at once.
    """

    def __init__(self, begin: Callable[[Exchange], None], limit: int) -> None:
        self._begin = begin
        self._limit = limit
        self._unsent: deque[Exchange] = deque()
        self._waiting: deque[Exchange] = deque()
        self._working = 0
        self._beginning = False

    @property
    def waits(self) -> bool:
        """Whether a request has been read and not begun."""
        return bool(self._waiting)

    @property
    def empty(self) -> bool:
        """Whether every request has been answered, and its reply taken by `ready`."""
        return not self._unsent

    def add(self, exchange: Exchange) -> None:
        """A request to be begun when it is its turn."""
        self._unsent.append(exchange)
        self._waiting.append(exchange)

    def add_begun(self, exchange: Exchange) -> None:
        """A request that is answered elsewhere, to be sent in its turn."""
        self._unsent.append(exchange)
        self._working += 1

    def answered(self) -> None:
        """One that was begun has its reply."""
        self._working -= 1

    def ready(self) -> tuple[bytes, bool]:
        """Take the replies whose turn it is; and whether the connection ends after them."""
        unsent, data, close = self._unsent, [], False
        while unsent and not close and (reply := unsent[0].data) is not None:
            data.append(reply)
            close = unsent.popleft().close
        return data[0] if len(data) == 1 else b"".join(data), close

    def begin_waiting(self, blocked: Callable[[], bool]) -> None:
        """Begin requests, in order, as far as the limit and `blocked` allow.

        A request may be answered before `begin` returns, which comes back here; the outermost call
        is then the one that goes on.
        """
        if self._beginning:
            return
        self._beginning = True
        while self._waiting and self._working < self._limit and not blocked():
            self._working += 1
            self._begin(self._waiting.popleft())
        self._beginning = False

    def forget(self) -> int:
        """Drop what was not begun, and the replies to come; returns the body bytes dropped."""
        held_bytes = sum(exchange.held_bytes for exchange in self._waiting)
        self._waiting.clear()
        self._unsent.clear()
        return held_bytes
