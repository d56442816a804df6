"""Work that is the same every time: how far its slow runs lie from its median is the machine's."""

from __future__ import annotations

import contextlib
import statistics
import time
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

BLOCK = bytes(32768)
CALIBRATING = 9


class SteadyWork:
    """Checksums of a block in L1, as many as take about as long as `run`. One thread.

    Beside contenders in the same turns it shows what interrupts and neighbours add to any run of
    that length.
    """

    def __init__(self, run: Callable[[], object]) -> None:
        self._repeats = 1
        each = _seconds(lambda: self.run(None))
        self._repeats = max(1, round(_seconds(run) / each))

    def run(self, staged: Any) -> Any:
        """The checksums."""
        for _ in range(self._repeats):
            zlib.crc32(BLOCK)

    def turn(self) -> AbstractContextManager[object]:
        """Nothing to set."""
        return contextlib.nullcontext()


def _seconds(run: Callable[[], object]) -> float:
    taken = []
    for _ in range(CALIBRATING):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
