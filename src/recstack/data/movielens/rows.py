"""Features of MovieLens as rows, and rows as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, pack_lengths
from recstack.data.slices import ranges

Ints = NDArray[np.int64]
Bags = tuple[Ints, NDArray[np.int32]]  # values (nnz,), lengths (rows,)

HISTORY = 20
# A column's name, centre and scale; stars are half stars, "over" is a mean excess over the mean
# rating of the same user or movie, pauses and ages are log1p(seconds), log1p(years).
USER_DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 1.0), ("stars over movie's", 0.0, 1.0),
    ("log ratings", 4.5, 1.5), ("spread of stars", 2.0, 0.4),
    ("like rate, last 20", 0.5, 0.2), ("stars, last 20", 7.0, 1.0), ("over, last 20", 0.0, 1.0),
    ("like rate, last 5", 0.5, 0.2), ("pause", 3.0, 3.0), ("tenure", 10.0, 5.0),
)  # fmt: skip
DENSE = (
    ("like rate", 0.5, 0.2), ("stars", 7.0, 0.7), ("stars over user's", 0.0, 0.7),
    ("log ratings", 2.5, 1.5), ("over, last 20", 0.0, 0.7), ("age", 2.0, 1.0),
    ("genre's like rate", 0.5, 0.1), ("genre's stars over user's", 0.0, 0.2),
    ("user's genre like rate less like rate", 0.0, 0.05), ("user's genre over user's", 0.0, 0.4),
    ("user's genre over movie's", 0.0, 0.6), ("log user's genre ratings", 2.5, 1.5),
    ("user's period like rate less like rate", 0.0, 0.1), ("user's period over user's", 0.0, 0.5),
    ("user's period over movie's", 0.0, 0.7), ("log user's period ratings", 2.0, 1.5),
)  # fmt: skip
SPARSE = {
    item.name: item
    for item in (
        SparseInput(name="user", scope="user", fixed=True),
        SparseInput(name="history", scope="user", length=HISTORY),
        SparseInput(name="movie", fixed=True),
        SparseInput(name="year", fixed=True),
        SparseInput(name="genres", length=3),
        SparseInput(name="user_x_genre", length=3),
    )
}


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Features of R rows, read-only, user-scope ones repeated on every row.

    user_dense: (R, len(USER_DENSE)) float32. dense: (R, len(DENSE)) float32.
    sparse: name, as in SPARSE -> (values (nnz,) int64, lengths (R,) int32). Index 0 means unknown.
    """

    user_dense: NDArray[np.float32]
    dense: NDArray[np.float32]
    sparse: Mapping[str, Bags]

    def inputs(self, names: Sequence[str]) -> tuple[Input, ...]:
        """A model's inputs: user_dense, dense, then the named sparse features."""
        return (
            DenseInput(name="user_dense", width=len(USER_DENSE), scope="user"),
            DenseInput(name="dense", width=len(DENSE)),
            *(SPARSE[name] for name in names),
        )

    def batch(self, names: Sequence[str], query_offsets: NDArray[np.int32] | None = None) -> Batch:
        """The rows as a Batch of `inputs(names)`, by default one query per row.

        query_offsets: (Q + 1,) int32; the rows of a query must be of one user and time, and none
        may be empty.
        """
        n = len(self.dense)
        offsets = np.arange(n + 1, dtype=np.int32) if query_offsets is None else query_offsets
        heads, one_each = offsets[:-1].astype(np.int64), query_offsets is None
        bags = [
            self.sparse[name]
            if SPARSE[name].scope == "item" or one_each
            else take_bags(self.sparse[name], heads)
            for name in names
        ]
        values = [v for v, _ in bags] or [np.zeros(0, np.int64)]
        return Batch(
            dense=self.dense,
            user_dense=self.user_dense if one_each else self.user_dense[heads],
            values=np.concatenate(values),
            lengths=pack_lengths(self.inputs(names), [lengths for _, lengths in bags]),
            query_offsets=offsets,
        )

    def take(self, rows: Ints) -> Rows:
        """The rows at these positions, in this order; copies."""
        sparse = {name: take_bags(bags, rows) for name, bags in self.sparse.items()}
        return Rows(self.user_dense[rows], self.dense[rows], MappingProxyType(sparse))

    def padded(self, name: str, length: int = HISTORY) -> Ints:
        """A ragged feature as (R, length) int64, filled with 0 behind each bag's last index."""
        values, lengths = self.sparse[name]
        out = np.zeros((len(lengths), length), np.int64)
        out[np.arange(length) < lengths[:, None]] = values
        return out


def take_bags(bags: Bags, rows: Ints) -> Bags:
    """The bags at these positions, in this order; copies."""
    values, lengths = bags
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return values[ranges(starts[rows], lengths[rows])], lengths[rows]
