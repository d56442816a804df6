"""Batches cut and joined: what a dispatcher does to queries, in plain NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, Input, SparseInput, entries, feature_lengths, pack_lengths
from recstack.errors import BatchError


def merge(batches: Sequence[Batch], inputs: Sequence[Input]) -> Batch:
    """One batch of all queries of `batches`, in order; values become int64 if any are.

    Raises BatchError when there is no batch, or only some carry lookup weights.

    >>> from recstack.data import random_batch
    >>> from recstack.model import zoo
    >>> model = zoo.outline("ncf")
    >>> parts = [random_batch(model, rows=n) for n in (3, 5)]
    >>> merge(parts, model.inputs).query_offsets.tolist()
    [0, 3, 8]
    """
    if not batches:
        raise BatchError("expected at least one batch, got none", "batches")
    if len(batches) == 1:
        return batches[0]
    weighted = [b.weights is not None for b in batches]
    if any(weighted) != all(weighted):
        i = weighted.index(False)
        raise BatchError("expected weights as in the other batches, got none", f"batches[{i}]")
    bounds = [_value_bounds(inputs, b) for b in batches]
    pieces = [
        (b, slice(int(at[f]), int(at[f + 1])))
        for f in range(len(bounds[0]) - 1)
        for b, at in zip(batches, bounds, strict=True)
    ]
    by_batch = [feature_lengths(inputs, b) for b in batches]
    starts = np.cumsum([0, *(b.rows for b in batches)])
    offsets = [b.query_offsets[1:] + n for b, n in zip(batches, starts, strict=False)]
    return Batch(
        dense=np.concatenate([b.dense for b in batches]),
        user_dense=np.concatenate([b.user_dense for b in batches]),
        values=_join([b.values[s] for b, s in pieces], batches[0].values),
        lengths=pack_lengths(inputs, [np.concatenate(n) for n in zip(*by_batch, strict=True)]),
        query_offsets=np.concatenate([np.zeros(1, np.int32), *offsets]).astype(np.int32),
        weights=_join([b.weights[s] for b, s in pieces if b.weights is not None], None)
        if all(weighted)
        else None,
    )


def slice_rows(batch: Batch, inputs: Sequence[Input], begin: int, end: int) -> Batch:
    """Rows [begin, end) of a batch of one query; what belongs to the user stays whole.

    Raises BatchError unless the batch holds one query with those rows.
    """
    if batch.queries != 1:
        raise BatchError(f"expected one query, got {batch.queries}", "query_offsets")
    _check_range(begin, end, batch.rows, "rows")
    offsets = np.array([0, end - begin], np.int32)
    return _cut(batch, inputs, slice(begin, end), slice(0, 1), offsets)


def slice_queries(batch: Batch, inputs: Sequence[Input], begin: int, end: int) -> Batch:
    """Queries [begin, end) of a batch, with all their rows. Raises BatchError when out of range."""
    _check_range(begin, end, batch.queries, "queries")
    offsets = batch.query_offsets[begin : end + 1]
    rows = slice(int(offsets[0]), int(offsets[-1]))
    return _cut(batch, inputs, rows, slice(begin, end), offsets - offsets[0])


def take_queries(
    batch: Batch, inputs: Sequence[Input], queries: NDArray[np.int64]
) -> tuple[Batch, NDArray[np.int64]]:
    """The queries at these positions, in this order, and the positions of their rows; copies.

    queries: (n,) int64, any order, repeats allowed. Raises BatchError when one is out of range.
    """
    if queries.size:
        _check_range(int(queries.min()), int(queries.max()) + 1, batch.queries, "queries")
    starts, sizes = batch.query_offsets[:-1].astype(np.int64), np.diff(batch.query_offsets)
    rows = ranges(starts[queries], sizes[queries])
    ends = np.concatenate([[0], np.cumsum(batch.lengths.reshape(-1), dtype=np.int64)])
    at, lengths, places = 0, [], []
    for item, n in zip(_sparse(inputs), feature_lengths(inputs, batch), strict=True):
        taken = rows if item.scope == "item" else queries
        lengths.append(n[taken])
        places.append(ranges(ends[at + taken], n[taken]))
        at += n.size
    place = np.concatenate(places) if places else np.zeros(0, np.int64)
    taken_batch = Batch(
        dense=batch.dense[rows],
        user_dense=batch.user_dense[queries],
        values=batch.values[place],
        lengths=pack_lengths(inputs, lengths),
        query_offsets=np.concatenate([[0], np.cumsum(sizes[queries])]).astype(np.int32),
        weights=None if batch.weights is None else batch.weights[place],
    )
    return taken_batch, rows


def ranges(first: NDArray[np.int64], lengths: NDArray[Any]) -> NDArray[np.int64]:
    """first[0], first[0] + 1, ... lengths[0] times, then the same of first[1], ...

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    shift = np.repeat(first - (np.cumsum(lengths) - lengths), lengths)
    return np.asarray(shift + np.arange(len(shift)), np.int64)


def _cut(
    batch: Batch,
    inputs: Sequence[Input],
    rows: slice,
    queries: slice,
    offsets: NDArray[np.int32],
) -> Batch:
    ends = np.concatenate([[0], np.cumsum(batch.lengths.reshape(-1), dtype=np.int64)])
    at, lengths, pieces = 0, [], []
    for item, n in zip(_sparse(inputs), feature_lengths(inputs, batch), strict=True):
        cut = rows if item.scope == "item" else queries
        lengths.append(n[cut])
        pieces.append(slice(int(ends[at + cut.start]), int(ends[at + cut.stop])))
        at += n.size
    weights = batch.weights
    return Batch(
        dense=batch.dense[rows],
        user_dense=batch.user_dense[queries],
        values=_join([batch.values[p] for p in pieces], batch.values),
        lengths=pack_lengths(inputs, lengths),
        query_offsets=offsets,
        weights=None if weights is None else _join([weights[p] for p in pieces], weights),
    )


def _value_bounds(inputs: Sequence[Input], batch: Batch) -> NDArray[np.int64]:
    """Where each feature's values begin, and where the last one's end: (features + 1,)."""
    ends = np.concatenate([[0], np.cumsum(batch.lengths.reshape(-1), dtype=np.int64)])
    counts = [0, *(entries(i.scope, batch) for i in _sparse(inputs))]
    bounds: NDArray[np.int64] = ends[np.cumsum(counts)]
    return bounds


def _sparse(inputs: Sequence[Input]) -> list[SparseInput]:
    return [i for i in inputs if isinstance(i, SparseInput)]


def _join(pieces: Sequence[NDArray[Any]], like: NDArray[Any] | None) -> NDArray[Any]:
    """The pieces one after the other; none of them: an empty array like `like`."""
    if not pieces:
        return np.zeros(0, np.float32 if like is None else like.dtype)
    return np.concatenate(pieces)


def _check_range(begin: int, end: int, limit: int, what: str) -> None:
    if not 0 <= begin <= end <= limit:
        raise BatchError(f"expected 0 <= begin <= end <= {limit}, got [{begin}, {end})", what)
