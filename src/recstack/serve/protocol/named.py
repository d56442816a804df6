"""The named form: one tensor per input, packed here into a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, pack_lengths
from recstack.errors import BatchError
from recstack.serve.protocol.rows import Limits, one_query, read_offsets, unknown_rows
from recstack.serve.protocol.schema import OFFSETS, Schema
from recstack.serve.protocol.tensor import FP32, INDEX, INT32, Tensor

Tensors = Mapping[str, Tensor]
Bags = tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32] | None]


def read(schema: Schema, tensors: Tensors, limits: Limits) -> Batch:
    """The batch that named tensors hold; raises BatchError with the tensor's place."""
    _check_names(schema, tensors)
    offsets = read_offsets(tensors, limits) if schema.takes_offsets else None
    queries = 1 if offsets is None else offsets.size - 1
    if offsets is None:
        offsets = one_query(_rows(schema, tensors), limits)
    rows = int(offsets[-1])
    dense: dict[str, list[NDArray[np.float32]]] = {"item": [], "user": []}
    bags: list[Bags] = []
    for item in schema.inputs:
        entries = rows if item.scope == "item" else queries
        one = item.scope == "user" and queries == 1
        if isinstance(item, DenseInput):
            dense[item.scope].append(_dense(item, tensors[item.name], entries, one))
        else:
            bags.append(_bags(item, tensors, entries, one))
    return Batch(
        dense=_side_by_side(dense["item"], rows),
        user_dense=_side_by_side(dense["user"], queries),
        values=_join([values for values, _, _ in bags]),
        lengths=pack_lengths(schema.inputs, [lengths for _, lengths, _ in bags]),
        query_offsets=offsets,
        weights=_weights(bags) if schema.weighted else None,
    )


def _check_names(schema: Schema, tensors: Tensors) -> None:
    if schema.clash:
        raise BatchError(
            f"expected the packed form, since two inputs share the tensor name {schema.clash!r}",
            "inputs",
        )
    for name, tensor in tensors.items():
        if name not in schema.names and not (name == OFFSETS and schema.takes_offsets):
            raise BatchError("expected the name of an input, got another", tensor.where)
    for item in schema.inputs:
        if item.name not in tensors:
            raise BatchError(f"expected an input named {item.name!r}, got none", "inputs")


def _rows(schema: Schema, tensors: Tensors) -> int:
    """R of a request that is one query, from its first item-scope input."""
    for item in schema.inputs:
        if item.scope != "item":
            continue
        tensor = _counted(item, tensors)
        if not tensor.shape:
            tensor.expect((-1,))
        return tensor.shape[0]
    raise unknown_rows()


def _counted(item: Input, tensors: Tensors) -> Tensor:
    """The tensor of `item` that has one entry per row."""
    tensor = tensors[item.name]
    if isinstance(item, DenseInput) or item.fixed or len(tensor.shape) == 2:
        return tensor
    return _lengths_tensor(item, tensors)


def _lengths_tensor(item: SparseInput, tensors: Tensors) -> Tensor:
    name = f"{item.name}.lengths"
    if name not in tensors:
        raise BatchError(
            f"expected an input named {name!r} beside the flat {item.name!r}, got none", "inputs"
        )
    return tensors[name]


def _dense(item: DenseInput, tensor: Tensor, entries: int, one: bool) -> NDArray[np.float32]:
    shape = (entries, item.width)
    tensor.expect(shape, *([(item.width,)] if one else []))
    return tensor.array(FP32).reshape(shape)


def _bags(item: SparseInput, tensors: Tensors, entries: int, one: bool) -> Bags:
    tensor = tensors[item.name]
    if item.fixed:
        flat_fits = item.length == 1 or one
        flat = (entries * item.length,)
        tensor.expect((entries, item.length), *([flat] if flat_fits else []))
        lengths = np.full(entries, item.length, np.int32)
    elif f"{item.name}.lengths" in tensors:
        tensor.expect((-1,))
        lengths = _ragged_lengths(_lengths_tensor(item, tensors), entries, tensor)
    elif len(tensor.shape) == 2:
        tensor.expect((entries, -1))
        lengths = np.full(entries, tensor.shape[1], np.int32)
    else:
        lengths = _ragged_lengths(_lengths_tensor(item, tensors), entries, tensor)
    values = tensor.array(INDEX)
    if not item.weighted:
        return values, lengths, None
    weights = tensors.get(f"{item.name}.weights")
    if weights is None:
        raise BatchError(f"expected an input named '{item.name}.weights', got none", "inputs")
    weights.expect(tensor.shape)
    return values, lengths, weights.array(FP32)


def _ragged_lengths(tensor: Tensor, entries: int, values: Tensor) -> NDArray[np.int32]:
    tensor.expect((entries,))
    lengths: NDArray[np.int32] = tensor.array(INT32)
    if lengths.size and int(lengths.min()) < 0:
        at = int(np.flatnonzero(lengths < 0)[0])
        raise BatchError(f"expected a length >= 0 for entry {at}, got {lengths[at]}", tensor.where)
    total = int(lengths.sum(dtype=np.int64))
    if total != values.count:
        raise BatchError(
            f"expected the lengths to sum to {values.count}, the number of values, got {total}",
            tensor.where,
        )
    return lengths


def _join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    if not arrays:
        return np.zeros(0, np.int32)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _side_by_side(arrays: list[NDArray[np.float32]], entries: int) -> NDArray[np.float32]:
    if not arrays:
        return np.zeros((entries, 0), np.float32)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)


def _weights(bags: list[Bags]) -> NDArray[np.float32]:
    """One weight per value; those of inputs that are not weighted are 1."""
    parts = [np.ones(v.size, np.float32) if w is None else w for v, _, w in bags]
    return np.concatenate(parts)
