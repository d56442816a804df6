"""A request of several queries, taken apart: a SUT is given one query at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.serve.protocol.schema import Schema


def split(schema: Schema, batch: Batch) -> list[Batch]:
    """One batch per query, in order; their scores, stacked, are the scores of `batch`.

    Bags and values are gathered by query in one stable sort each, so the work in Python is per
    query and not per query and feature.
    """
    if batch.queries == 1:
        return [batch]
    owner = _bag_owners(schema, batch)
    flat = batch.lengths.reshape(-1)
    bag_order = np.argsort(owner, kind="stable")
    value_owner = np.repeat(owner, flat)
    value_order = np.argsort(value_owner, kind="stable")
    lengths, values = flat[bag_order], batch.values[value_order]
    weights = None if batch.weights is None else batch.weights[value_order]
    bags = _bounds(owner, batch.queries)
    spans = _bounds(value_owner, batch.queries)
    rows = batch.query_offsets.tolist()
    parts = []
    for q in range(batch.queries):
        part = lengths[bags[q] : bags[q + 1]]
        if schema.one_scope is not None:
            part = part.reshape(len(schema.sparse), -1) if part.size else _no_bags(schema)
        span = slice(spans[q], spans[q + 1])
        parts.append(
            Batch(
                dense=batch.dense[rows[q] : rows[q + 1]],
                user_dense=batch.user_dense[q : q + 1],
                values=values[span],
                lengths=part,
                query_offsets=np.array((0, rows[q + 1] - rows[q]), np.int32),
                weights=None if weights is None else weights[span],
            )
        )
    return parts


def _bag_owners(schema: Schema, batch: Batch) -> NDArray[np.int64]:
    """The query of every bag, in the order of `lengths`."""
    users = np.arange(batch.queries)
    items = np.repeat(users, np.diff(batch.query_offsets))
    parts = [items if i.scope == "item" else users for i in schema.sparse]
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _bounds(owner: NDArray[np.int64], queries: int) -> list[int]:
    counts = np.bincount(owner, minlength=queries)
    return [0, *np.cumsum(counts).tolist()]


def _no_bags(schema: Schema) -> NDArray[np.int32]:
    return np.zeros((len(schema.sparse), 0), np.int32)
