"""What an index stream is."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_PRIME = 2_654_435_761  # above any table's rows: multiplying by it permutes them


class Stream(Protocol):
    """Indices of lookups into one table, in order."""

    def draw(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64 indices of a table of `limit` rows: 0 <= index < limit."""
        ...


def spread(ranks: NDArray[np.int64], limit: int, shift: int = 0) -> NDArray[np.int64]:
    """Ranks as rows all over a table of `limit` rows; different ranks below `limit` stay different.

    shift: 0 <= shift < 2^31; gives each table or turn a permutation of its own.

    >>> spread(np.arange(4), 10).tolist()
    [0, 1, 2, 3]
    """
    return (ranks * _PRIME + shift) % limit
