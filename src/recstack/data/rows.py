"""Features of rows, and rows as batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, pack_lengths
from recstack.data.slices import ranges

Ints = NDArray[np.int64]
Bags = tuple[Ints, NDArray[np.int32]]  # values (nnz,), lengths (rows,)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Features of R rows, user-scope ones repeated on every row.

    schema: all inputs. user_dense, dense: (R, columns) float32, dense inputs of user and item scope
    side by side. sparse: feature -> (values (nnz,) int64, lengths (R,) int32); index 0 means
    unknown.
    """

    schema: tuple[Input, ...]
    user_dense: NDArray[np.float32]
    dense: NDArray[np.float32]
    sparse: Mapping[str, Bags]

    def __len__(self) -> int:
        return len(self.dense)

    def inputs(self, names: Sequence[str] | None = None) -> tuple[Input, ...]:
        """A model's inputs: the dense ones, then the named sparse features (all by default)."""
        sparse = {i.name: i for i in self.schema if isinstance(i, SparseInput)}
        dense = [i for i in self.schema if isinstance(i, DenseInput)]
        return (*dense, *(sparse[name] for name in (sparse if names is None else names)))

    def batch(
        self,
        names: Sequence[str] | None = None,
        query_offsets: NDArray[np.int32] | None = None,
    ) -> Batch:
        """The rows as a Batch of `inputs(names)`, by default one query per row.

        query_offsets: (Q + 1,) int32; the rows of a query must be of one user and time, and none
        may be empty.
        """
        inputs, one_each = self.inputs(names), query_offsets is None
        offsets = np.arange(len(self) + 1, dtype=np.int32) if one_each else query_offsets
        assert offsets is not None
        heads = offsets[:-1].astype(np.int64)
        bags = [
            self.sparse[i.name]
            if i.scope == "item" or one_each
            else take_bags(self.sparse[i.name], heads)
            for i in inputs
            if isinstance(i, SparseInput)
        ]
        values = [v for v, _ in bags] or [np.zeros(0, np.int64)]
        return Batch(
            dense=self.dense,
            user_dense=self.user_dense if one_each else self.user_dense[heads],
            values=np.concatenate(values),
            lengths=pack_lengths(inputs, [lengths for _, lengths in bags]),
            query_offsets=offsets,
        )

    def take(self, rows: Ints) -> Rows:
        """The rows at these positions, in this order; copies."""
        sparse = {name: take_bags(bags, rows) for name, bags in self.sparse.items()}
        return Rows(self.schema, self.user_dense[rows], self.dense[rows], MappingProxyType(sparse))

    def with_bags(self, **bags: Bags) -> Rows:
        """These rows with other bags for some features; the other arrays are shared."""
        return replace(self, sparse=MappingProxyType({**self.sparse, **bags}))

    def padded(self, name: str) -> Ints:
        """A ragged feature as (R, its schema's length) int64, filled with 0 behind each bag's last
        index."""
        values, lengths = self.sparse[name]
        width = next(i.length for i in self.schema if isinstance(i, SparseInput) and i.name == name)
        out = np.zeros((len(lengths), width), np.int64)
        out[np.arange(width) < lengths[:, None]] = values
        return out


def take_bags(bags: Bags, rows: Ints) -> Bags:
    """The bags at these positions, in this order; copies."""
    values, lengths = bags
    starts = np.cumsum(lengths, dtype=np.int64) - lengths
    return values[ranges(starts[rows], lengths[rows])], lengths[rows]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """`array`, contiguous and read-only."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array
