"""A recorded stream, replayed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recstack.data.streams.stream import spread
from recstack.errors import DataError
from recstack.files import read_numbers


@dataclass(frozen=True, slots=True, eq=False)
class Recorded:
    """Indices (n,) as recorded, from a random place on and over and over.

    Rows are permuted in a way of each draw's own, so that tables share the stream's reuse and not
    its rows. Tables with more rows than the recorded one are reached all over, smaller ones fold.
    """

    indices: NDArray[np.int64]

    def draw(self, limit: int, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64."""
        place = int(rng.integers(0, self.indices.size))
        at = (place + np.arange(count)) % self.indices.size
        return spread(self.indices[at], limit, int(rng.integers(0, 1 << 31)))


def read_stream(path: Path) -> NDArray[np.int64]:
    """Indices (n,) of a text file with one per line. Raises DataError naming the file."""
    stream: NDArray[np.int64] = read_numbers(path, np.int64)
    if stream.min() < 0:
        raise DataError(f"{path}: expected indices >= 0, got {stream.min()}")
    return stream
