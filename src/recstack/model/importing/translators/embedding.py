"""Embedding and EmbeddingBag, in all their spellings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ModelError
from recstack.model import ops
from recstack.model.importing.builder import Builder, runs
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.einsum import linear_of
from recstack.model.importing.values import (
    CELL,
    Columns,
    Const,
    PerIndex,
    Ragged,
    Rows,
    Steps,
    Unsupported,
    Value,
)

_MODES = ("sum", "mean", "max")
_COMPUTED = "indices that are computed; only columns of arguments are looked up"
SMALL = 256  # rows of a table that a computed index is compared with one by one


@translates("embedding")
def embedding(b: Builder, call: Call) -> Value:
    """Rows of a table. `padding_idx` concerns training only: its row is read like any other."""
    return looked_up(b, table_of(b, call["weight"]), call["indices"])


@translates("embedding_renorm")
def embedding_renorm(b: Builder, call: Call) -> Value:
    """`max_norm`: the table with every row shortened to that length, as each is before use."""
    table = call["self"]
    if not isinstance(table, Const):
        raise Unsupported("a table that depends on the data")
    length = table.tensor.norm(p=call["norm_type"], dim=1, keepdim=True)
    limit = call["max_norm"]
    scale = (limit / (length + 1e-7)).where(length > limit, length.new_ones(()))
    return Const(table.tensor * scale)


@translates("one_hot")
def one_hot(b: Builder, call: Call) -> Value:
    """Rows of a unit matrix."""
    import torch

    if call.get("num_classes", -1) < 0:
        raise Unsupported("one_hot without num_classes")
    return looked_up(b, b.weight(Const(torch.eye(call["num_classes"]))), call["self"])


def table_of(b: Builder, weight: Value) -> str:
    """The name of a constant table (rows, dim)."""
    if not isinstance(weight, Const):
        raise Unsupported("a table that depends on the data")
    return b.weight(weight)


def looked_up(b: Builder, table: str, indices: Value) -> Rows:
    """Rows of a table at the indices of a tensor."""
    if isinstance(indices, Rows) and indices.whole:
        name = _computed(b, table, indices.name)
    elif isinstance(indices, Columns) and indices.integer:
        name = _columns(b, table, indices)
    else:
        raise Unsupported(_COMPUTED)
    return Rows(name, b.shapes[name], indices.axis, indices.merged)


def _columns(b: Builder, table: str, indices: Columns) -> str:
    name = _sequence(b, table, indices.cells.reshape(-1, CELL), None)
    return b.reshape(name, (*indices.shape, b.weights[table].shape[1]))


def _computed(b: Builder, table: str, name: str) -> str:
    """Rows at computed indices, (*entry, dim): constants, choices between indices, small tables.

    What chooses between two indices chooses between their rows; a mask times an index chooses
    between that one and 0.
    """
    rows, dim = b.weights[table].shape
    shape = (*b.shapes[name], dim)
    fixed, op = b.constant_value(name), b.producer(name)
    if fixed is not None:
        if fixed.size and (fixed.min() < 0 or fixed.max() >= rows):
            raise ModelError(f"expected indices in [0, {rows}), got {fixed.min()}..{fixed.max()}")
        return b.constant(fixed_tensor(b.weights[table][fixed.astype(np.int64)]))
    if name in b.columns and b.columns[name].integer:
        return _columns(b, table, b.columns[name])
    if isinstance(op, ops.Where):
        mask, one, two = op.inputs
    elif isinstance(op, ops.Binary) and op.fn == "mul" and (masked := _masked(b, op)):
        mask, one, two = masked[0], masked[1], b.number(0.0)
    elif isinstance(op, ops.Reshape | ops.Expand):
        source = _computed(b, table, op.inputs[0])
        return b.reshape(source, shape) if op.kind == "reshape" else b.expand(source, shape)
    elif rows <= SMALL:
        chosen = b.binary(
            "eq", b.reshape(name, (*shape[:-1], 1)), b.constant(fixed_tensor(np.arange(rows)))
        )
        return linear_of(b, chosen, b.weights[table].T)
    else:
        raise Unsupported(_COMPUTED)
    column = b.reshape(mask, (*b.shapes[mask], 1))
    picked = b.emit(ops.Where, [column, _computed(b, table, one), _computed(b, table, two)])
    return b.expand(picked, shape)


def _masked(b: Builder, op: ops.Binary) -> tuple[str, str] | None:
    """The mask and the other factor of a product with a value that is 0 or 1."""
    for mask, other in (op.inputs, op.inputs[::-1]) if len(op.inputs) == 2 else ():
        if is_mask(b, mask):
            return mask, other
    return None


def is_mask(b: Builder, name: str) -> bool:
    """Whether a value holds only 0 and 1."""
    op = b.producer(name)
    while isinstance(op, ops.Reshape | ops.Expand | ops.Transpose | ops.Slice | ops.Index):
        op = b.producer(op.inputs[0])
    compares = isinstance(op, ops.Binary) and op.fn in ("eq", "ne", "lt", "le", "gt", "ge")
    return compares or isinstance(op, ops.SequenceMask)


def fixed_tensor(array: NDArray[Any]) -> Const:
    """An array as a constant."""
    import torch

    return Const(torch.from_numpy(np.ascontiguousarray(array, np.float32)))


def _sequence(b: Builder, table: str, cells: NDArray[np.int64], padding: int | None) -> str:
    """(n, dim): the row of each of n columns; (dim,) for a single one without padding."""
    parts = []
    pieces = runs(cells)
    single = all(len(p) == 1 for p in pieces)
    for piece in pieces:
        part = _bag(b, table, piece, "sum" if len(piece) == 1 else "none", padding)
        whole = len(piece) > 1 or single
        parts.append(part if whole else b.reshape(part, (1, b.weights[table].shape[1])))
    if single and len(parts) > 1:
        return b.emit(ops.Stack, parts, axis=0)
    return b.concat(parts, 0)


def _bag(
    b: Builder, table: str, piece: NDArray[np.int64], pooling: str, padding: int | None
) -> str:
    argument, start, offset = (int(i) for i in piece[0, :3])
    feature = b.indices(argument, start, len(piece))
    return _emit(b, feature, table, pooling, padding, offset)


def _emit(
    b: Builder, feature: str, table: str, pooling: str, padding: int | None, offset: int
) -> str:
    if offset < 0:
        raise Unsupported(f"a negative row offset ({offset})")
    own = None if padding is None or padding < offset else padding - offset
    return b.emit(
        ops.EmbeddingBag,
        [feature],
        table=table,
        pooling=pooling,
        padding_index=own,
        row_offset=offset,
    )


@dataclass(frozen=True, slots=True)
class _Pooling:
    """The options of one call."""

    table: str
    mode: str
    padding: int | None


@translates("embedding_bag _embedding_bag _embedding_bag_forward_only")
def embedding_bag(b: Builder, call: Call) -> Value:
    """Pooled rows of a table: over the columns of a matrix, or over ragged values and offsets."""
    padding = call.get("padding_idx")
    padding = None if padding is None or padding < 0 else int(padding)
    how = _Pooling(table_of(b, call["weight"]), _MODES[call.get("mode", 0)], padding)
    indices, weights = call["indices"], call.get("per_sample_weights")
    if isinstance(indices, Ragged):
        out = _ragged(b, how, indices, call["offsets"], weights, call)
    elif isinstance(indices, Columns):
        out = _fixed(b, how, indices, call["offsets"], weights)
    else:
        raise Unsupported(_COMPUTED)
    return (Rows(out, b.shapes[out]), None, None, None)


def _ragged(
    b: Builder, how: _Pooling, values: Ragged, offsets: Value, weights: Value, call: Call
) -> str:
    if not isinstance(offsets, Ragged):
        raise Unsupported("offsets that are computed; pass them as an argument")
    if isinstance(weights, PerIndex) and weights.indices == values and how.mode == "sum":
        scaled = call["weight"].tensor * weights.numbers.tensor.reshape(-1, 1)
        how, weights = replace(how, table=b.weight(Const(scaled))), None
    if weights is not None and not isinstance(weights, Ragged):
        raise Unsupported("per_sample_weights that are computed; pass them as an argument")
    if how.mode == "max":
        raise Unsupported("max pooling of ragged bags")
    last = bool(call.get("include_last_offset", False))
    feature = b.inputs.ragged(values, offsets, weights, last).name
    pooling = how.mode if weights is None else "weighted"
    return _emit(b, feature, how.table, pooling, how.padding, 0)


def _fixed(b: Builder, how: _Pooling, indices: Columns, offsets: Value, weights: Value) -> str:
    """Bags over the n columns of a matrix, which torch flattens first."""
    n = int(np.prod(indices.shape))
    if not indices.integer or not isinstance(offsets, Steps) or offsets.step != n:
        raise Unsupported("offsets that are neither an argument nor one bag per row")
    cells = indices.cells.reshape(-1, CELL)
    if isinstance(weights, Columns):
        named = _weighted(b, how, cells, weights)
        if named is not None:
            return named
    elif weights is None and len(runs(cells)) == 1 and how.mode != "max":
        return _bag(b, how.table, cells, how.mode, how.padding)
    if how.padding is not None and how.mode != "sum":
        raise Unsupported(f"{how.mode} pooling with a padding index over separate columns")
    dim = b.weights[how.table].shape[1]
    rows = b.reshape(_sequence(b, how.table, cells, how.padding), (n, dim))
    if weights is not None:
        scale = b.reshape(b.rows(weights).name, (n, 1))
        rows = b.binary("mul", rows, scale)
    return b.reduce(how.mode, rows, [0])


def _weighted(b: Builder, how: _Pooling, cells: NDArray[np.int64], weights: Columns) -> str | None:
    """A bag whose weights are columns of an argument too."""
    pieces = runs(weights.cells.reshape(-1, CELL))
    if len(pieces) != 1 or len(runs(cells)) != 1 or pieces[0][0, 2:].any():
        return None
    (argument, start, offset), (other, at, _) = (
        (int(i) for i in cells[0, :3]),
        (int(i) for i in pieces[0][0, :3]),
    )
    b.indices(argument, start, len(cells))
    feature = b.inputs.columns(argument, start, start + len(cells), (other, at)).name
    return _emit(b, feature, how.table, "weighted", how.padding, offset)
