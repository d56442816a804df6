"""Batches filled up to a fixed shape: what recorded work needs. All of it plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, SparseInput, entries
from recstack.engine.torch_executor.lookups import Packing
from recstack.model import Model
from recstack.model.ops import EmbeddingBag


def empty_batch(model: Model) -> Batch:
    """No rows and no queries."""
    widths = {scope: sum(i.width for i in model.dense if i.scope == scope) for scope in _SCOPES}
    weighted = any(feature.weighted for feature in model.sparse)
    return Batch(
        dense=np.zeros((0, widths["item"]), np.float32),
        user_dense=np.zeros((0, widths["user"]), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros(0, np.int32),
        query_offsets=np.zeros(1, np.int32),
        weights=np.zeros(0, np.float32) if weighted else None,
    )


def pad(model: Model, batch: Batch, rows: int, queries: int) -> Batch:
    """`batch` with zeros behind it up to so many rows and queries; its own scores do not change.

    Added bags are empty, or of index 0 where every bag has one length; added rows belong to the
    first added query, or to the last one where none is added. Indices become int32 where all tables
    are small enough. Expects a batch that fits the model and is no larger.
    """
    packing = Packing.of(model, batch)
    flat = batch.lengths.reshape(-1)
    dtype: type[Any] = np.int32 if _narrow(model) else np.int64
    lengths: list[NDArray[np.int32]] = []
    values: list[NDArray[Any]] = [np.zeros(0, dtype)]
    weights = [np.zeros(0, np.float32)]
    for i, feature in enumerate(model.sparse):
        added = (rows if feature.scope == "item" else queries) - entries(feature.scope, batch)
        length = _added_length(feature)
        part = packing.lookups(i)
        lengths += [flat[slice(*packing.starts[i : i + 2])], np.full(added, length, np.int32)]
        values += [batch.values[part], np.zeros(added * length, dtype)]
        if batch.weights is not None:
            weights += [batch.weights[part], np.zeros(added * length, np.float32)]
    offsets = np.full(queries + 1, rows, np.int32)
    kept = batch.query_offsets if queries > batch.queries else batch.query_offsets[:-1]
    offsets[: kept.size] = kept
    return Batch(
        dense=_taller(batch.dense, rows),
        user_dense=_taller(batch.user_dense, queries),
        values=np.concatenate(values, dtype=dtype, casting="same_kind"),
        lengths=np.concatenate([np.zeros(0, np.int32), *lengths]),
        query_offsets=offsets,
        weights=None if batch.weights is None else np.concatenate(weights),
    )


def one_query(model: Model, batch: Batch) -> Batch:
    """All rows as one query's, where nothing of the model belongs to a user."""
    if batch.queries == 1 or any(item.scope == "user" for item in model.inputs):
        return batch
    return batch.replace(
        query_offsets=np.array([0, batch.rows], np.int32),
        user_dense=np.zeros((1, 0), np.float32),
    )


_SCOPES = ("item", "user")


def _narrow(model: Model) -> bool:
    tables = {op.table for op in model.ops if isinstance(op, EmbeddingBag)}
    return all(model.shapes[table][0] < 1 << 31 for table in tables)


def _added_length(feature: SparseInput) -> int:
    return feature.length if feature.fixed else 0


def _taller(array: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    if array.shape[0] == rows:
        return array
    taller = np.zeros((rows, array.shape[1]), np.float32)
    taller[: array.shape[0]] = array
    return taller
