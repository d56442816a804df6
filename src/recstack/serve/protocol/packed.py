"""The packed form: a Batch's own arrays as tensors, viewed and checked.

    dense (R, W)   user_dense (Q, Wu)   values (nnz,)   weights (nnz,)   query_offsets (Q + 1,)
    lengths (bags,), or (features, entries) where all sparse inputs have one scope

A tensor of no elements may be left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, check
from recstack.errors import BatchError
from recstack.serve.protocol.rows import Limits, one_query, read_offsets, unknown_rows
from recstack.serve.protocol.schema import PACKED, Schema
from recstack.serve.protocol.tensor import FP32, INDEX, INT32, Tensor

Tensors = Mapping[str, Tensor]


def read(schema: Schema, tensors: Tensors, limits: Limits) -> Batch:
    """The batch that packed tensors hold; raises BatchError with the tensor's place."""
    for name, tensor in tensors.items():
        if name not in PACKED:
            raise BatchError(f"expected one of {', '.join(PACKED)}, got another", tensor.where)
    offsets = read_offsets(tensors, limits)
    queries = 1 if offsets is None else offsets.size - 1
    lengths = _lengths(schema, tensors)
    if offsets is None:
        offsets = one_query(_rows(schema, tensors, lengths), limits)
    rows = int(offsets[-1])
    if (scope := schema.one_scope) is not None:
        entries = rows if scope == "item" else queries
        if lengths.size == len(schema.sparse) * entries:
            lengths = lengths.reshape(len(schema.sparse), entries)
    batch = Batch(
        dense=_dense(tensors, "dense", rows, schema.item_width),
        user_dense=_dense(tensors, "user_dense", queries, schema.user_width),
        values=_flat(tensors, "values", INDEX),
        lengths=lengths,
        query_offsets=offsets,
        weights=_flat(tensors, "weights", FP32) if schema.weighted else None,
    )
    if not schema.weighted and "weights" in tensors:
        raise BatchError("expected no weights, no input is weighted", tensors["weights"].where)
    if not _is_sound(schema, batch):
        check(schema.inputs, batch)  # the slow twin, which says what is wrong
        raise AssertionError("a batch that fails the quick check passed the exact one")
    return batch


def _is_sound(schema: Schema, batch: Batch) -> bool:
    """Whether lengths, values and weights fit; the rest has been checked tensor by tensor."""
    lengths, values, rows, queries = batch.lengths, batch.values, batch.rows, batch.queries
    if lengths.size != schema.item_features * rows + schema.user_features * queries:
        return False
    if lengths.size and int(lengths.min()) < 0:
        return False
    if int(lengths.sum(dtype=np.int64)) != values.size:
        return False
    if batch.weights is not None and batch.weights.shape != values.shape:
        return False
    if not schema.has_fixed:
        return True
    entries = [rows if i.scope == "item" else queries for i in schema.sparse]
    wanted = np.repeat(schema.fixed_lengths, entries)
    return bool(((wanted < 0) | (wanted == lengths.reshape(-1))).all())


def _dense(tensors: Tensors, name: str, entries: int, width: int) -> NDArray[np.float32]:
    tensor = tensors.get(name)
    if tensor is None:
        if width and entries:
            raise BatchError(f"expected FP32 ({entries}, {width}), got none", name)
        return np.zeros((entries, width), np.float32)
    tensor.expect((entries, width))
    return tensor.array(FP32).reshape(entries, width)


def _lengths(schema: Schema, tensors: Tensors) -> NDArray[np.int32]:
    tensor = tensors.get("lengths")
    if tensor is None:
        return np.zeros((0, 0), np.int32)
    if schema.one_scope is None:
        tensor.expect((-1,))
    else:
        tensor.expect((-1,), (len(schema.sparse), -1))
    return tensor.array(INT32)


def _flat(tensors: Tensors, name: str, datatypes: tuple[str, ...]) -> NDArray[Any]:
    tensor = tensors.get(name)
    if tensor is None:
        return np.zeros(0, np.float32 if datatypes is FP32 else np.int32)
    tensor.expect((-1,))
    return tensor.array(datatypes)


def _rows(schema: Schema, tensors: Tensors, lengths: NDArray[np.int32]) -> int:
    """R of a request that is one query."""
    if schema.item_width and (dense := tensors.get("dense")) is not None:
        dense.expect((-1, schema.item_width))
        return dense.shape[0]
    if not schema.item_features:
        raise unknown_rows()
    return max(lengths.size - schema.user_features, 0) // schema.item_features
