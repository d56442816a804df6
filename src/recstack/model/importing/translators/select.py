"""Operators that take parts of a tensor or put tensors together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recstack.model import ops
from recstack.model.importing import move
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.embedding import fixed_tensor, looked_up, table_of
from recstack.model.importing.values import (
    Columns,
    Const,
    Dim,
    Laid,
    MixesRows,
    PerIndex,
    Ragged,
    Rows,
    Steps,
    Unsupported,
    Value,
    entry_axis,
    entry_of,
    new_axis,
    rank,
    removed,
)

MOST_COMPARED = 1 << 16  # elements that are compared to gather a value


@translates("select select_copy")
def select(b: Builder, call: Call) -> Value:
    """One position of an axis."""
    v, dim, index = call["self"], call["dim"], call["index"]
    if isinstance(v, Ragged) and v.row is None and dim == 0:
        return Ragged(v.argument, index)
    return _select(b, move.laid(v), dim, index)


def _select(b: Builder, v: Laid, dim: int, index: int) -> Laid:
    axis = entry_axis(v, dim)
    index %= v.shape[axis]
    part = move.pick(b, v, axis, index, index + 1)
    return move.drop(b, part, axis, removed(v, [dim]))


@translates("slice narrow slice_copy")
def slice_(b: Builder, call: Call) -> Value:
    """A range of an axis."""
    v, dim = call["self"], call.get("dim", 0)
    start, step = call.get("start", 0), call.get("step", 1)
    stop = call.get("end") if call.operator != "aten.narrow" else start + call["length"]
    stop = (1 << 62) if stop is None else stop
    if isinstance(v, Ragged):
        if start == 0 and step == 1 and not isinstance(stop, int):
            return v
        if start == 0 and step == 1 and stop > 1 << 40:
            return v
        raise Unsupported("a slice of a ragged argument")
    v = move.laid(v)
    if dim % rank(v) == v.axis:
        whole = not isinstance(stop, int) or stop > 1 << 40
        if start == 0 and step == 1 and whole:
            return v
        raise MixesRows("takes some rows of the batch")
    axis = entry_axis(v, dim)
    if not isinstance(start, int) or not isinstance(stop, int):
        raise Unsupported("a slice whose bounds depend on the data")
    first, last, _ = slice(start, stop).indices(v.shape[axis])
    return move.pick(b, v, axis, first, max(first, last), step)


@translates("unbind")
def unbind(b: Builder, call: Call) -> Value:
    """All positions of an axis."""
    v, dim = call["self"], call.get("dim", 0)
    if isinstance(v, Ragged) and v.row is None and dim == 0:
        return tuple(Ragged(v.argument, i) for i in range(len(call.dims)))
    v = move.laid(v)
    return tuple(_select(b, v, dim, i) for i in range(v.shape[entry_axis(v, dim)]))


@translates("split split_with_sizes chunk tensor_split")
def split(b: Builder, call: Call) -> Value:
    """Consecutive ranges of an axis."""
    v, dim = move.laid(call["self"]), call.get("dim", 0)
    axis, at, parts = entry_axis(v, dim), 0, []
    for dims in call.dims:
        size = dims[dim % rank(v)]
        assert isinstance(size, int)
        parts.append(move.pick(b, v, axis, at, at + size))
        at += size
    return tuple(parts)


def _constant_parts(
    b: Builder, parts: Sequence[Value], dims: Sequence[tuple[Dim, ...] | None]
) -> list[Laid]:
    """Parts with a batch axis; constants take the one of the others."""
    known = next((p for p in parts if isinstance(p, Rows | Columns)), None)
    if known is None:
        raise Unsupported("no tensor with a batch axis")
    out: list[Laid] = []
    for part in parts:
        if isinstance(part, Const):
            t = part.tensor
            if t.ndim == rank(known) and t.shape[known.axis] == 1 and not known.merged:
                name = b.constant(Const(t.squeeze(known.axis)))
                out.append(Rows(name, b.shapes[name], known.axis))
                continue
        out.append(move.laid(part))
    return out


@translates("cat concat concatenate")
def cat(b: Builder, call: Call) -> Value:
    """Tensors side by side along an axis."""
    dim = call.get("dim", 0)
    parts = [
        p
        for p in call["tensors"]
        if not (isinstance(p, Const) and p.tensor.ndim == 1 and p.tensor.numel() == 0)
    ]
    laid = _constant_parts(b, parts, [])
    return move.join(b, laid, entry_axis(laid[0], dim))


@translates("stack")
def stack(b: Builder, call: Call) -> Value:
    """Tensors along a new axis."""
    laid = _constant_parts(b, call["tensors"], [])
    axis, batch = new_axis(laid[0], call.get("dim", 0))
    return move.pile(b, laid, axis, batch)


@translates("hstack column_stack")
def hstack(b: Builder, call: Call) -> Value:
    """Tensors side by side along axis 1."""
    laid = _constant_parts(b, call["tensors"], [])
    laid = [
        move.place(b, v, (1,), 0, v.merged)
        if call.operator == "aten.column_stack" and not v.shape
        else v
        for v in laid
    ]
    return move.join(b, laid, entry_axis(laid[0], 1))


@translates("index_select")
def index_select(b: Builder, call: Call) -> Value:
    """Constant positions of an axis."""
    if isinstance(call["self"], Const) and call["dim"] == 0:
        return _rows_of(b, call["self"], call["index"])
    if not isinstance(call["index"], Const):
        raise Unsupported("positions that depend on the data")
    v = move.laid(call["self"])
    axis = entry_axis(v, call["dim"])
    return move.take(b, v, axis, call["index"].tensor.reshape(-1).tolist())


@translates("index")
def index(b: Builder, call: Call) -> Value:
    """Advanced indexing by constants: positions of neighbouring axes, or a mask over them."""
    given = list(call["indices"])
    if isinstance(call["self"], Const) and len(given) == 1:
        return _rows_of(b, call["self"], given[0])
    v = move.laid(call["self"])
    if len(given) == 2 and given[0] == Steps(1):
        return _one_each(b, b.rows(v), given[1])
    picked: list[tuple[int, Const]] = []
    dim = 0
    for item in given:
        if item is None:
            dim += 1
            continue
        if not isinstance(item, Const):
            raise Unsupported("positions that depend on the data")
        spread = [Const(t) for t in item.tensor.nonzero(as_tuple=True)]
        parts = spread if str(item.tensor.dtype) == "torch.bool" else [item]
        picked += [(dim + i, p) for i, p in enumerate(parts)]
        dim += len(parts)
    dims = [d for d, _ in picked]
    if dims != list(range(dims[0], dims[0] + len(dims))):
        raise Unsupported("positions of axes that are not neighbours")
    axes = [entry_axis(v, d) for d in dims]
    sizes = [v.shape[a] for a in axes]
    arrays = np.broadcast_arrays(*[p.tensor.cpu().numpy() for _, p in picked])
    wrapped = [np.where(a < 0, a + n, a) for a, n in zip(arrays, sizes, strict=True)]
    flat = np.ravel_multi_index(wrapped, sizes)
    merged_shape = (*v.shape[: axes[0]], int(np.prod(sizes)), *v.shape[axes[-1] + 1 :])
    one = move.place(b, v, merged_shape, removed(v, dims) + (dims[0] < v.axis), v.merged)
    out = move.take(b, one, axes[0], flat.reshape(-1).tolist())
    shape = (*v.shape[: axes[0]], *flat.shape, *v.shape[axes[-1] + 1 :])
    batch = removed(v, dims) + (flat.ndim if dims[0] < v.axis else 0)
    return move.place(b, out, shape, batch, v.merged)


def _rows_of(b: Builder, table: Const, indices: Value) -> Rows:
    """table[indices] of a constant table of one axis or two."""
    t = table.tensor
    if t.ndim not in (1, 2) or not t.dtype.is_floating_point:
        raise Unsupported("rows of a constant that is not a table")
    out = looked_up(b, table_of(b, Const(t[:, None], None) if t.ndim == 1 else table), indices)
    if t.ndim == 2:
        return out
    return Rows(b.reshape(out.name, out.shape[:-1]), out.shape[:-1], out.axis, out.merged)


@translates("gather")
def gather(b: Builder, call: Call) -> Value:
    """x at computed positions of an axis."""
    if isinstance(call["self"], Const):
        if call["self"].tensor.ndim != 1:
            raise Unsupported("positions of a constant that depend on the data")
        if isinstance(call["index"], Ragged):
            return PerIndex(call["self"], call["index"])
        return _rows_of(b, call["self"], call["index"])
    v = b.rows(call["self"])
    axis = entry_axis(v, call["dim"])
    if isinstance(call["index"], Const):
        raise Unsupported("constant positions for each element")
    at = b.rows(call["index"])
    whole = [n for i, n in enumerate(v.shape) if i != axis]
    if (at.axis, at.merged) != (v.axis, v.merged) or len(at.shape) != len(v.shape):
        raise Unsupported("positions laid out in another way")
    if [n for i, n in enumerate(at.shape) if i != axis] != whole:
        raise Unsupported("positions for part of the other axes")
    picks, n = at.shape[axis], v.shape[axis]
    if picks * n * int(np.prod(whole)) > MOST_COMPARED:
        raise Unsupported("more positions than are worth comparing one by one")
    spread = (*v.shape[:axis], 1, *v.shape[axis:])
    one = b.reshape(at.name, (*v.shape[:axis], picks, 1, *v.shape[axis + 1 :]))
    number = np.arange(n, dtype=np.float32).reshape(n, *(1 for _ in v.shape[axis + 1 :]))
    chosen = b.binary("eq", one, b.constant(fixed_tensor(number)))
    kept = b.emit(ops.Where, [chosen, b.reshape(v.name, spread), b.number(0.0)])
    return b.like(v, b.reduce("sum", kept, [axis + 1]))


def _one_each(b: Builder, v: Rows, position: Value) -> Rows:
    """x[arange(B), position]: of each row, one position of its first axis, such as the last."""
    import torch

    at = b.rows(position)
    if at.shape or (v.axis, at.axis) != (0, 0) or v.merged or at.merged or not at.whole:
        raise Unsupported("positions that depend on the data")
    n = v.shape[0]
    wrapped = b.emit(
        ops.Where, [b.binary("lt", at.name, 0.0), b.binary("add", at.name, float(n)), at.name]
    )
    number = b.constant(Const(torch.arange(n)))
    chosen = b.binary("eq", number, b.reshape(wrapped, (1,)))
    column = b.reshape(chosen, (n, *(1 for _ in v.shape[1:])))
    kept = b.emit(ops.Where, [column, v.name, b.number(0.0)])
    name = b.reduce("sum", kept, [0])
    return Rows(name, b.shapes[name])


@translates("flip")
def flip(b: Builder, call: Call) -> Value:
    """Axes backwards."""
    v = move.laid(call["self"])
    for dim in call["dims"]:
        axis = entry_axis(v, dim)
        v = move.take(b, v, axis, list(range(v.shape[axis]))[::-1])
    return v


@translates("roll")
def roll(b: Builder, call: Call) -> Value:
    """Axes rotated."""
    v = move.laid(call["self"])
    if not call.get("dims"):
        raise Unsupported("a roll over all axes")
    for shift, dim in zip(call["shifts"], call["dims"], strict=True):
        axis = entry_axis(v, dim)
        v = move.take(b, v, axis, np.roll(np.arange(v.shape[axis]), shift).tolist())
    return v


@translates("repeat_interleave")
def repeat_interleave(b: Builder, call: Call) -> Value:
    """Each position several times."""
    v, times = move.laid(call["self"]), call.get("repeats")
    if not isinstance(times, int) or call.get("dim") is None:
        raise Unsupported("repeats that depend on the data, or over all axes")
    axis = entry_axis(v, call["dim"])
    return move.take(b, v, axis, np.repeat(np.arange(v.shape[axis]), times).tolist())


@translates("tril triu")
def triangle(b: Builder, call: Call) -> Value:
    """A triangle of the last two axes; zeros elsewhere."""
    import torch

    v = b.rows(call["self"])
    a, c = entry_axis(v, -2), entry_axis(v, -1)
    function = torch.tril if call.operator == "aten.tril" else torch.triu
    mask = function(torch.ones(v.shape[a], v.shape[c]), call.get("diagonal", 0))
    kept = [b.constant(Const(mask)), v.name, b.number(0.0)]
    return b.like(v, b.emit(ops.Where, kept))


@translates("diagonal")
def diagonal(b: Builder, call: Call) -> Value:
    """The diagonal of two axes, as a last axis."""
    v = move.laid(call["self"])
    one, two = call.get("dim1", 0) % rank(v), call.get("dim2", 1) % rank(v)
    if (one, two) != (rank(v) - 2, rank(v) - 1) or v.axis >= one or v.merged:
        raise Unsupported("a diagonal of other than the last two axes")
    rows, columns = v.shape[-2:]
    at = [
        i * columns + i + call.get("offset", 0)
        for i in range(rows)
        if 0 <= i + call.get("offset", 0) < columns
    ]
    flat = move.place(b, v, (*v.shape[:-2], rows * columns), v.axis, v.merged)
    return move.take(b, flat, len(v.shape) - 2, at)


__all__ = ["entry_of"]
