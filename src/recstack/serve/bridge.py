"""Completions from any thread to the loop's thread."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from recstack.schedule import Dispatcher
from recstack.types import SUT, Completion

Handler = Callable[[Completion], None]


@runtime_checkable
class Pollable(Protocol):
    """A SUT whose completions a loop collects itself.

    fileno: readable when there are completions. drain: calls the `done` of each, on this thread.
    """

    def fileno(self) -> int:
        """A descriptor to watch."""
        ...

    def drain(self) -> object:
        """Call the `done` of every completion that waits."""
        ...


class Bridge:
    """Runs handlers on the loop's thread, waking it once for all completions that have gathered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.get_ident()
        self._ready: deque[tuple[Handler, Completion]] = deque()
        self._woken = False
        self._closed = False
        self._watched: list[int] = []

    def watch(self, suts: Iterable[SUT]) -> None:
        """Let the loop collect the completions of SUTs that offer it.

        A Dispatcher offers it too, but drains itself.
        """
        for sut in {id(s): s for s in suts}.values():
            if isinstance(sut, Pollable) and not isinstance(sut, Dispatcher):
                descriptor = sut.fileno()
                self._loop.add_reader(descriptor, sut.drain)
                self._watched.append(descriptor)

    def close(self) -> None:
        """Stop watching; completions that still come are dropped."""
        self._closed = True
        for descriptor in self._watched:
            self._loop.remove_reader(descriptor)
        self._watched.clear()

    def deliver(self, handler: Handler, completion: Completion) -> None:
        """Call `handler` with `completion` on the loop's thread; callable from any thread."""
        if self._closed:
            return
        if threading.get_ident() == self._thread:
            handler(completion)
            return
        self._ready.append((handler, completion))
        # appended before the flag is read, and _run clears the flag before it reads the queue:
        # whichever thread is late, the entry is seen
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._run)
            except RuntimeError:  # the loop is closed: nobody waits any more
                self._ready.clear()

    def _run(self) -> None:
        self._woken = False
        while self._ready:
            handler, completion = self._ready.popleft()
            handler(completion)
