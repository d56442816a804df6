"""The memory that peaks are measured in: on huge pages where there are, and really there."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from recstack import _native
from recstack.memory import huge_bytes

PAGE = 4096
HUGE_PAGE = 2 << 20
_SLICE = 64 << 20


@dataclass(frozen=True, slots=True)
class Arena:
    """Zeroed, touched memory.

    data: (bytes,) uint8, aligned to 2 MiB. huge_pages: whether huge pages back nearly all of it.
    """

    data: NDArray[Any]
    huge_pages: bool

    @property
    def nbytes(self) -> int:
        """Bytes that are there."""
        return int(self.data.nbytes)


def make_arena(nbytes: int, threads: int, seconds: float) -> Arena:
    """Up to `nbytes` of memory, as much as can be had in `seconds`; at least 64 MiB of it.

    A page of a virtual machine may have to be found by its host first, which takes seconds for
    some gigabytes.

    Raises
    ------
    MemoryError: there is no such memory.
    """
    data, _ = _native.empty_pages(nbytes)
    until = time.monotonic() + seconds

    def touch(start: int) -> bool:
        if start > 0 and time.monotonic() > until:
            return False
        data[start : start + _SLICE : PAGE] = 0
        return True

    with ThreadPoolExecutor(threads) as pool:
        touched = list(pool.map(touch, range(0, nbytes, _SLICE)))
    there = touched.index(False) * _SLICE if False in touched else nbytes
    kept = data[:there]
    begin = kept.ctypes.data
    return Arena(kept, huge_bytes([(begin, begin + there)]) >= 0.9 * there)
