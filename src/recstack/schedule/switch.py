"""A system under test that can be exchanged while queries come."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from functools import partial
from typing import Self

from recstack.errors import ShuttingDown
from recstack.schedule.dispatcher import LoopDispatcher
from recstack.schedule.stats import Stats
from recstack.types import Completion, Query

Done = Callable[[Completion], None]


class Switch:
    """Gives queries to the dispatcher of the day; each is answered by the one that took it.

    Its descriptor is readable where any of its dispatchers has completions, so an event loop that
    watches it needs not know of a change. It owns its dispatchers: `close` closes them.
    """

    def __init__(self, dispatcher: LoopDispatcher) -> None:
        self._active = dispatcher
        self._open = [dispatcher]
        self._poll = select.epoll()
        self._poll.register(dispatcher.fileno(), select.EPOLLIN)
        self._changing = threading.Lock()
        self._closed = False

    def to(self, dispatcher: LoopDispatcher) -> None:
        """Send the next queries to another dispatcher; returns when the one before is idle, closed.

        Callable from any thread but the one that drains. Raises ShuttingDown after `close`, and
        OSError where no more descriptors can be watched, the dispatcher given being closed too.
        """
        with self._changing:
            if self._closed:
                dispatcher.close()
                raise ShuttingDown("the system has been closed")
            before = self._active
            try:
                self._poll.register(dispatcher.fileno(), select.EPOLLIN)
            except OSError:
                dispatcher.close()
                raise
            self._open = [before, dispatcher]
            self._active = dispatcher
            self._poll.unregister(before.fileno())
            before.close()
            self._open = [dispatcher]

    def issue(self, query: Query, done: Done) -> None:
        """See `SUT.issue`."""
        active = self._active
        active.issue(query, partial(self._ended, active, query, done))

    def fileno(self) -> int:
        """Readable when there are completions."""
        return self._poll.fileno()

    def drain(self) -> int:
        """Call the `done` of every completion that waits."""
        return sum(dispatcher.drain() for dispatcher in self._open)

    def stats(self) -> Stats:
        """Of the dispatcher that takes the queries now."""
        return self._active.stats()

    def _ended(self, by: LoopDispatcher, query: Query, done: Done, completion: Completion) -> None:
        if completion.status == "shutting_down" and by is not self._active:
            self.issue(query, done)  # it came between the change and the closing
        else:
            done(completion)

    def close(self, *, drain: bool = True) -> None:
        """Refuse new queries, finish the waiting ones (or end them: `drain=False`)."""
        with self._changing:
            if not self._closed:
                self._closed = True
                self._active.close(drain=drain)
                self._poll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
