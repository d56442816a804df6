"""Operators that only lay a tensor out anew: reshape, permute, expand, casts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recstack.model.importing import move
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.values import (
    FLOATS,
    TRUNCATED,
    TRUTH,
    BatchDim,
    Columns,
    Const,
    Laid,
    MixesRows,
    Ragged,
    Rows,
    Steps,
    Unsupported,
    Value,
    entry_axis,
    new_axis,
    rank,
    removed,
)


@translates(
    "clone contiguous detach alias dropout feature_dropout alpha_dropout lift_fresh "
    "lift_fresh_copy detach_copy positive resolve_conj resolve_neg"
)
def same(b: Builder, call: Call) -> Value:
    """The tensor itself."""
    if call.get("train", False):
        raise MixesRows("dropout in training mode draws random numbers")
    return call.get("self", call.get("input"))


@translates("to type_as _to_copy")
def cast(b: Builder, call: Call) -> Value:
    """A cast: floats stay float32, and are truncated where they become integers."""
    v, dtype = call["self"], call.dtypes[0]
    if dtype == "bool" and isinstance(v, Rows | Columns):
        x = b.rows(v)
        return v if x.dtype == "bool" else b.like(x, b.binary("ne", x.name, 0.0))
    integer = dtype.startswith(("int", "uint"))
    if integer and dtype not in ("int32", "int64") and not _is_whole(v):
        raise Unsupported(f"a cast of floats to {dtype}")
    if isinstance(v, Columns):
        v = v.marked(TRUTH, False).marked(FLOATS, v.integer and not integer)
        v = v.marked(TRUNCATED) if integer and not v.integer else v
        return replace(v, integer=integer or v.integer)
    if isinstance(v, Rows) and integer and not v.whole:
        return b.like(v, b.truncate(v.name))
    return v


def _is_whole(v: Value) -> bool:
    return v.integer if isinstance(v, Columns) else not isinstance(v, Rows) or v.whole


@translates("view reshape _unsafe_view flatten unflatten view_as reshape_as _reshape_alias")
def view(b: Builder, call: Call) -> Value:
    """The same elements under another shape."""
    v = call["self"]
    if isinstance(v, Ragged | Steps) and len(call.dims[0]) == 1:
        return v
    return move.view(b, move.laid(v), call.dims[0])


@translates("unsqueeze")
def unsqueeze(b: Builder, call: Call) -> Value:
    """A new axis of size 1."""
    if isinstance(call["self"], Steps):
        raise Unsupported("row numbers as a matrix")
    v = move.laid(call["self"])
    axis, batch = new_axis(v, call["dim"])
    return move.place(b, v, (*v.shape[:axis], 1, *v.shape[axis:]), batch, v.merged)


@translates("squeeze")
def squeeze(b: Builder, call: Call) -> Value:
    """Without axes of size 1."""
    v = move.laid(call["self"])
    given = call.get("dim")
    dims = (
        range(rank(v)) if given is None else given if isinstance(given, list | tuple) else [given]
    )
    gone = [d for d in (d % rank(v) for d in dims) if d != v.axis]
    if given is not None and len(gone) < len(dims) and len(call.dims[0]) < rank(v) - len(gone):
        raise Unsupported("squeezes the batch axis away")
    gone = [d for d in gone if v.shape[entry_axis(v, d)] == 1]
    axes = {entry_axis(v, d) for d in gone}
    shape = tuple(n for i, n in enumerate(v.shape) if i not in axes)
    return move.place(b, v, shape, removed(v, gone), v.merged)


def permuted(b: Builder, v: Laid, dims: Sequence[int]) -> Laid:
    """Axes of the tensor in the order `dims`."""
    order: list[int] = []
    for d in (d % rank(v) for d in dims):
        if d == v.axis:
            order += range(v.axis, v.axis + v.merged.count)
        else:
            order.append(entry_axis(v, d))
    return move.transpose(b, v, order, [d % rank(v) for d in dims].index(v.axis))


@translates("permute")
def permute(b: Builder, call: Call) -> Value:
    """Axes in another order."""
    return permuted(b, move.laid(call["self"]), call["dims"])


@translates("transpose swapaxes t numpy_T mT swapdims")
def transpose(b: Builder, call: Call) -> Value:
    """Two axes exchanged."""
    v = move.laid(call["self"])
    one = call.get("dim0", call.get("axis0", 0 if call.operator != "aten.mT" else -2))
    two = call.get("dim1", call.get("axis1", 1 if call.operator != "aten.mT" else -1))
    order = list(range(rank(v)))
    if rank(v) > 1:
        order[one], order[two] = order[two], order[one]
    return permuted(b, v, order)


@translates("movedim moveaxis")
def movedim(b: Builder, call: Call) -> Value:
    """Axes moved to other places."""
    v = move.laid(call["self"])
    n = rank(v)
    source, target = (
        [i % n for i in (d if isinstance(d, list | tuple) else [d])]
        for d in (call["source"], call["destination"])
    )
    rest = iter([d for d in range(n) if d not in source])
    order = [source[target.index(i)] if i in target else next(rest) for i in range(n)]
    return permuted(b, v, order)


@translates("expand expand_as broadcast_to")
def expand(b: Builder, call: Call) -> Value:
    """Broadcast to a shape."""
    return move.broadcast(b, call["self"], call.dims[0])


@translates("repeat tile")
def repeat(b: Builder, call: Call) -> Value:
    """Copies side by side; along the batch axis only of a single user's tensor."""
    v = call["self"]
    times = list(call.get("repeats", call.get("dims", [])))
    if isinstance(v, Const):
        at = [i for i, n in enumerate(times) if isinstance(n, BatchDim)]
        lead = len(times) - v.tensor.ndim
        if len(at) != 1 or (at[0] >= lead and v.tensor.shape[at[0] - lead] != 1):
            raise MixesRows("repeats a constant along the batch axis")
        tiled = v.tensor.repeat(*[1 if i == at[0] else n for i, n in enumerate(times)])
        return move.broadcast(b, Const(tiled), call.dims[0])
    v = move.laid(v)
    times = [1] * (rank(v) - len(times)) + times
    lead = len(times) - rank(v)
    for _ in range(lead):
        axis, batch = new_axis(v, 0)
        v = move.place(b, v, (*v.shape[:axis], 1, *v.shape[axis:]), batch, v.merged)
    for d, n in enumerate(times):
        if d == v.axis:
            if n != 1 and not isinstance(n, BatchDim):
                raise MixesRows("repeats rows")
        elif not isinstance(n, int):
            raise MixesRows("repeats by the batch size")
        elif n != 1:
            axis = entry_axis(v, d)
            v = move.repeat(b, v, axis, n)
    return v
