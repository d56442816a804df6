"""What an engine runs at once, and the inputs that it must match.

A batch of Q queries with R rows in all. An item-scope input has one entry per row, a user-scope
input one entry per query. Sparse features are packed key-major: all bags of feature 0, then all of
feature 1, and so on; with two item-scope features and three rows,

    lengths  [[2, 0, 1],        values  [ 7 9 | | 4 || 5 | 5 6 | 8 ]
              [1, 2, 1]]                  bag 0 of feature 0 is 7 9
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from recstack.errors import BatchError

ScopeName = Literal["user", "item"]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class DenseInput(BaseModel):
    """`width` float32 columns per entry."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["dense"] = "dense"
    name: Name
    width: int = Field(ge=1, le=1 << 24)
    scope: ScopeName = "item"


class SparseInput(BaseModel):
    """One bag of indices per entry.

    length: indices per bag; exact when `fixed`, else the expected number (a sequence is at most
        this long).
    fixed: every bag has exactly `length` indices.
    weighted: each index carries a float32 weight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["sparse"] = "sparse"
    name: Name
    length: int = Field(default=1, ge=1, le=1 << 24)
    scope: ScopeName = "item"
    fixed: bool = False
    weighted: bool = False


Input = Annotated[DenseInput | SparseInput, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs of Q queries with R rows in all; plain arrays, never copied on construction.

    dense: (R, columns) float32, the item-scope dense inputs side by side, in the model's order.
    user_dense: (Q, columns) float32, the same for user-scope ones.
    values: (nnz,) int32 or int64, indices, key-major.
    lengths: int32, indices per bag, key-major: (features, R) when all features are item-scope,
        (features, Q) when all are user-scope, else flat, R or Q entries per feature.
    query_offsets: (Q + 1,) int32, rows of query q are query_offsets[q] : query_offsets[q + 1].
    weights: (nnz,) float32 beside `values`, or None where no feature is weighted.
    """

    dense: NDArray[np.float32]
    user_dense: NDArray[np.float32]
    values: NDArray[np.int32] | NDArray[np.int64]
    lengths: NDArray[np.int32]
    query_offsets: NDArray[np.int32]
    weights: NDArray[np.float32] | None = None

    @property
    def rows(self) -> int:
        """R, the number of candidates."""
        return int(self.query_offsets[-1]) if self.query_offsets.size else 0

    @property
    def queries(self) -> int:
        """Q, the number of queries."""
        return max(int(self.query_offsets.size) - 1, 0)

    def replace(self, **changes: Any) -> Batch:
        """A copy of this batch with some fields changed; arrays are shared."""
        return replace(self, **changes)


def entries(scope: ScopeName, batch: Batch) -> int:
    """Number of entries of an input of this scope in `batch`: R or Q."""
    return batch.rows if scope == "item" else batch.queries


def feature_lengths(inputs: Sequence[Input], batch: Batch) -> list[NDArray[np.int32]]:
    """The lengths of each sparse feature, in the model's order, as views."""
    flat, at, views = batch.lengths.reshape(-1), 0, []
    for item in inputs:
        if isinstance(item, SparseInput):
            n = entries(item.scope, batch)
            views.append(flat[at : at + n])
            at += n
    return views


def pack_lengths(
    inputs: Sequence[Input], lengths: Sequence[NDArray[np.int32]]
) -> NDArray[np.int32]:
    """Lengths per feature as one array: (features, entries) for one scope, else flat."""
    if not lengths:
        return np.zeros((0, 0), np.int32)
    packed = np.concatenate(lengths).astype(np.int32, copy=False)
    scopes = {i.scope for i in inputs if isinstance(i, SparseInput)}
    return packed.reshape(len(lengths), -1) if len(scopes) == 1 else packed


def check(inputs: Sequence[Input], batch: Batch) -> None:
    """Raise BatchError unless the batch's arrays have the dtypes and sizes that `inputs` ask for.

    Index ranges and finiteness are checked by the executor, which reads the data anyway.
    """
    for name in ("dense", "user_dense", "values", "lengths", "query_offsets"):
        if not isinstance(getattr(batch, name), np.ndarray):
            raise BatchError(f"expected an array, got {type(getattr(batch, name)).__name__}", name)
    _check_offsets(batch.query_offsets)
    for name, scope in (("dense", "item"), ("user_dense", "user")):
        array: NDArray[Any] = getattr(batch, name)
        width = sum(i.width for i in inputs if isinstance(i, DenseInput) and i.scope == scope)
        want = (batch.rows if scope == "item" else batch.queries, width)
        if array.dtype != np.float32:
            raise BatchError(f"expected float32, got {array.dtype}", name)
        if array.ndim != 2 or (array.shape != want and (width or array.size)):
            raise BatchError(f"expected shape {want}, got {array.shape}", name)
    if batch.values.dtype not in (np.int32, np.int64) or batch.values.ndim != 1:
        raise BatchError(
            f"expected (nnz,) int32 or int64, got {batch.values.shape} {batch.values.dtype}",
            "values",
        )
    _check_lengths(inputs, batch)
    if any(isinstance(i, SparseInput) and i.weighted for i in inputs):
        if batch.weights is None:
            raise BatchError("expected (nnz,) float32 for a weighted feature, got none", "weights")
        if batch.weights.dtype != np.float32 or batch.weights.shape != batch.values.shape:
            raise BatchError(
                f"expected {batch.values.shape} float32, "
                f"got {batch.weights.shape} {batch.weights.dtype}",
                "weights",
            )


def _check_offsets(offsets: NDArray[Any]) -> None:
    if offsets.dtype != np.int32 or offsets.ndim != 1 or offsets.size < 1:
        raise BatchError(
            f"expected (Q + 1,) int32, got {offsets.shape} {offsets.dtype}", "query_offsets"
        )
    if offsets[0] != 0:
        raise BatchError(f"expected 0, got {offsets[0]}", "query_offsets[0]")
    if offsets.size > 1 and (falls := np.flatnonzero(offsets[1:] < offsets[:-1])).size:
        q = int(falls[0]) + 1
        raise BatchError(
            f"expected at least {offsets[q - 1]}, got {offsets[q]}", f"query_offsets[{q}]"
        )


def _check_lengths(inputs: Sequence[Input], batch: Batch) -> None:
    if batch.lengths.dtype != np.int32:
        raise BatchError(f"expected int32, got {batch.lengths.dtype}", "lengths")
    sparse = [i for i in inputs if isinstance(i, SparseInput)]
    want = sum(entries(i.scope, batch) for i in sparse)
    if batch.lengths.size != want:
        raise BatchError(
            f"expected {want} lengths ({len(sparse)} features, {batch.rows} rows, "
            f"{batch.queries} queries), got {batch.lengths.size}",
            "lengths",
        )
    per_feature = (len(sparse), want // max(len(sparse), 1))
    if want and batch.lengths.shape not in ((want,), per_feature):
        raise BatchError(f"expected shape {per_feature}, got {batch.lengths.shape}", "lengths")
    flat = batch.lengths.reshape(-1)
    total = int(flat.sum(dtype=np.int64))
    if flat.size and int(flat.min()) < 0:
        where = int(np.flatnonzero(flat < 0)[0])
        raise BatchError(f"expected a length >= 0, got {flat[where]}", _bag(sparse, batch, where))
    if total != batch.values.size:
        raise BatchError(
            f"expected the lengths to sum to {batch.values.size}, the number of values, "
            f"got {total}",
            "lengths",
        )
    at = 0
    for item in sparse:
        n = entries(item.scope, batch)
        if item.fixed and (wrong := np.flatnonzero(flat[at : at + n] != item.length)).size:
            where = at + int(wrong[0])
            raise BatchError(
                f"expected length {item.length}, got {flat[where]}", _bag(sparse, batch, where)
            )
        at += n


def _bag(sparse: Sequence[SparseInput], batch: Batch, position: int) -> str:
    """Name the bag at a flat position of `lengths`."""
    for item in sparse:
        n = entries(item.scope, batch)
        if position < n:
            return f"feature {item.name!r}, {'row' if item.scope == 'item' else 'query'} {position}"
        position -= n
    raise AssertionError("position lies outside lengths")
