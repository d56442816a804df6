"""Data movement over an entry, for values and for columns of arguments alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from recstack.model import ops
from recstack.model.importing.builder import Builder
from recstack.model.importing.values import (
    CELL,
    BatchDim,
    Columns,
    Const,
    Dim,
    Laid,
    Merged,
    MixesRows,
    Rows,
    Unsupported,
    Value,
    batch_axis,
    entry_of,
    rank,
    reshaped,
)
from recstack.model.ops.base import Shape

L = TypeVar("L", Rows, Columns)


def laid(v: Value) -> Laid:
    """`v`, known to have a batch axis; Unsupported otherwise."""
    if isinstance(v, Rows | Columns):
        return v
    raise Unsupported(f"expected a tensor with a batch axis, got {type(v).__name__}")


def place(b: Builder, v: Laid, shape: Shape, axis: int, merged: Merged) -> Laid:
    """`v` with another entry shape of as many elements, and another layout."""
    if isinstance(v, Columns):
        return Columns(v.cells.reshape(*shape, CELL), v.integer, axis, merged)
    return Rows(b.reshape(v.name, shape), tuple(shape), axis, merged)


def view(b: Builder, v: Laid, dims: tuple[Dim, ...]) -> Laid:
    """`v` viewed as a tensor of shape `dims`."""
    return place(b, v, *reshaped(v, dims))


def transpose(b: Builder, v: Laid, axes: Sequence[int], axis: int) -> Laid:
    """`v` with its entry's axes in the order `axes` and the batch axis at `axis`."""
    if isinstance(v, Columns):
        cells = v.cells.transpose(*axes, v.cells.ndim - 1)
        return Columns(cells, v.integer, axis, v.merged)
    name = b.transpose(v.name, axes)
    return Rows(name, b.shapes[name], axis, v.merged)


def pick(b: Builder, v: Laid, axis: int, start: int, stop: int, step: int = 1) -> Laid:
    """Part of `v` along an axis of its entry."""
    if isinstance(v, Columns):
        cells = v.cells[(slice(None),) * axis + (slice(start, stop, step),)]
        return Columns(cells, v.integer, v.axis, v.merged)
    return b.like(v, b.slice(v.name, axis, start, stop, step))


def take(b: Builder, v: Laid, axis: int, indices: Sequence[int]) -> Laid:
    """`v` at `indices` along an axis of its entry."""
    if isinstance(v, Columns):
        return Columns(np.take(v.cells, indices, axis), v.integer, v.axis, v.merged)
    return b.like(v, b.index(v.name, axis, indices))


def drop(b: Builder, v: Laid, axis: int, batch: int) -> Laid:
    """`v` without an entry axis of size 1; the batch axis is then at `batch`."""
    shape = v.shape[:axis] + v.shape[axis + 1 :]
    return place(b, v, shape, batch, v.merged)


def broadcast(b: Builder, v: Value, dims: tuple[Dim, ...]) -> Laid:
    """`v` expanded to a tensor of shape `dims`; a constant gains a batch axis."""
    at = batch_axis(dims)
    if isinstance(v, Const):
        return _with_rows(b, v, dims, at)
    v = laid(v)
    axis = v.axis + len(dims) - rank(v)
    if at is not None and at != axis:
        raise MixesRows("expands an axis to the batch size")
    inner = v.shape[v.axis : v.axis + v.merged.count]
    shape = (*entry_of(dims[:axis], -1), *inner, *entry_of(dims[axis + 1 :], -1))
    if isinstance(v, Columns):
        cells = np.broadcast_to(v.cells, (*shape, CELL))
        return Columns(cells, v.integer, axis, v.merged)
    return Rows(b.expand(v.name, shape), shape, axis, v.merged)


def _with_rows(b: Builder, v: Const, dims: tuple[Dim, ...], at: int | None) -> Rows:
    """A constant as the same value for every row."""
    if at is None or dims[at] != BatchDim(1):
        raise Unsupported("a constant without a plain batch axis to expand over")
    t, missing = v.tensor, len(dims) - v.tensor.ndim
    if at >= missing:
        t = t.squeeze(at - missing)
    shape = entry_of(dims, at)
    name = b.expand(b.constant(Const(t, v.name)), shape)
    return Rows(name, shape, at)


def join(b: Builder, parts: Sequence[Laid], axis: int) -> Laid:
    """Parts side by side along an axis of their entries; all laid out alike."""
    first = parts[0]
    if any((p.axis, p.merged) != (first.axis, first.merged) for p in parts):
        raise MixesRows("joins tensors whose batch axes stand in different places")
    if all(isinstance(p, Columns) and p.integer for p in parts):
        cells = np.concatenate([p.cells for p in parts if isinstance(p, Columns)], axis)
        return Columns(cells, True, first.axis, first.merged)
    rows = [b.rows(p) for p in parts]
    return b.like(rows[0], b.concat([r.name for r in rows], axis))


def repeat(b: Builder, v: Laid, axis: int, times: int) -> Laid:
    """Copies of `v` side by side along an axis of its entry."""
    if v.shape[axis] != 1 or isinstance(v, Columns):
        return join(b, [v] * times, axis)
    return b.like(v, b.expand(v.name, (*v.shape[:axis], times, *v.shape[axis + 1 :])))


def pile(b: Builder, parts: Sequence[Laid], axis: int, batch: int) -> Laid:
    """Parts of one shape along a new axis of their entries."""
    first = parts[0]
    if any((p.axis, p.merged) != (first.axis, first.merged) for p in parts):
        raise MixesRows("stacks tensors whose batch axes stand in different places")
    if all(isinstance(p, Columns) and p.integer for p in parts):
        cells = np.stack([p.cells for p in parts if isinstance(p, Columns)], axis)
        return Columns(cells, True, batch, first.merged)
    rows = [b.rows(p) for p in parts]
    name = b.emit(ops.Stack, [r.name for r in rows], axis=axis)
    return Rows(name, b.shapes[name], batch, first.merged)
