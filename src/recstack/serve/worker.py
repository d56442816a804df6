"""Work that would hold the event loop for long, on threads of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class Worker:
    """Runs functions on `threads` threads, oldest first; results come back on the loop's thread.

    With one thread, work that holds the interpreter (decoding JSON) takes turns with the loop,
    though not inside one call of C; with more, the loop would be one of many that wait for it.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int, name: str) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, f"recstack-{name}")
        self.pending = 0

    def run(
        self, work: Callable[[], T], done: Callable[[T], None], failed: Callable[[Exception], None]
    ) -> None:
        """Call `work` on a thread, then `done` with its result on the loop's thread.

        failed: called instead, with what `work` or `done` raised. Neither is called after `close`
        for work that had not begun.
        """
        self.pending += 1
        future = self._loop.run_in_executor(self._pool, work)
        future.add_done_callback(partial(self._back, done, failed))

    def close(self) -> None:
        """Drop what has not begun, and wait for what has."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _back(
        self, done: Callable[[T], None], failed: Callable[[Exception], None],
        future: asyncio.Future[T],
    ) -> None:  # fmt: skip
        self.pending -= 1
        if future.cancelled():
            return
        try:
            done(future.result())
        except Exception as error:
            failed(error)
