"""Convolutions and pooling along one axis, and padding."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing import move
from recstack.model.importing.broadcast import scalar
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.translators.dense import constant, linear_over, optional
from recstack.model.importing.translators.reduce import reduced
from recstack.model.importing.translators.views import permuted
from recstack.model.importing.values import (
    Const,
    MixesRows,
    Rows,
    Unsupported,
    Value,
    entry_axis,
    rank,
)


def padded(b: Builder, v: Rows, axis: int, before: int, after: int, fill: float = 0.0) -> Rows:
    """`v` with `fill` before and after an axis of its entry; negative numbers cut."""
    import torch

    n = v.shape[axis]
    name = b.slice(v.name, axis, min(max(-before, 0), n), max(n - max(-after, 0), 0))
    parts = [name]
    for count, at in ((before, 0), (after, 2)):
        if count > 0:
            shape = (*v.shape[:axis], count, *v.shape[axis + 1 :])
            parts.insert(at, b.constant(Const(torch.full(shape, fill))))
    return b.like(v, b.concat(parts, axis))


@translates("pad constant_pad_nd")
def pad(b: Builder, call: Call) -> Value:
    """A number around the last axes."""
    fill = scalar(call.get("value", 0.0))
    if call.get("mode", "constant") != "constant" or fill is None:
        raise Unsupported(f"padding by {call.get('mode')!r}")
    v, sizes = b.rows(call["self"]), list(call["pad"])
    for i in range(0, len(sizes), 2):
        if sizes[i] or sizes[i + 1]:
            v = padded(b, v, entry_axis(v, -1 - i // 2), sizes[i], sizes[i + 1], fill)
    return v


@translates("conv1d")
def conv1d(b: Builder, call: Call) -> Value:
    """A convolution along the last axis: a linear layer of each window."""
    x, weight = b.rows(call["input"]), constant(call["weight"], "weight")
    if rank(x) != 3 or x.axis != 0 or x.merged:
        raise MixesRows("a convolution without a batch axis in front")
    if call.get("groups", 1) != 1:
        raise Unsupported("a convolution in groups")
    (stride,), (dilation,) = call.get("stride", [1]), call.get("dilation", [1])
    _, channels, size = weight.tensor.shape
    reach, pad_by = dilation * (size - 1), call.get("padding", [0])
    before, after = (pad_by[0],) * 2 if not isinstance(pad_by, str) else (0, 0)
    if pad_by == "same":
        before, after = reach // 2, reach - reach // 2
    x = padded(b, x, 1, before, after)
    x = b.rows(permuted(b, x, [0, 2, 1]))
    if (size, stride) != (1, 1):
        starts = range(0, x.shape[0] - reach, stride)
        taken = [s + k * dilation for s in starts for k in range(size)]
        name = b.reshape(b.index(x.name, 0, taken), (len(starts), size * channels))
        x = b.like(x, name)
    flat = weight.tensor.permute(0, 2, 1).reshape(weight.tensor.shape[0], -1)
    out = linear_over(b, x, Const(flat), optional(call.get("bias"), "bias"))
    return permuted(b, out, [0, 2, 1])


@translates("adaptive_avg_pool1d")
def average(b: Builder, call: Call) -> Value:
    """The mean of the last axis."""
    if list(call["output_size"]) != [1]:
        raise Unsupported("pooling to more than one position")
    return reduced(b, "mean", b.rows(call["self"]), -1, True)


@translates("max_pool1d adaptive_max_pool1d")
def largest(b: Builder, call: Call) -> Value:
    """The largest of the last axis, where that is one window."""
    v, adaptive = b.rows(call["self"]), call.operator == "aten.adaptive_max_pool1d"
    plain = call.get("padding", [0]) == [0] and call.get("dilation", [1]) == [1]
    size = v.shape[-1] if adaptive else call["kernel_size"][0]
    if size != v.shape[-1] or list(call.get("output_size", [1])) != [1] or not plain:
        raise Unsupported("pooling to more than one position")
    out = reduced(b, "max", v, -1, True)
    return (out, None) if adaptive else out


@translates("slice_scatter select_scatter")
def scatter(b: Builder, call: Call) -> Value:
    """A tensor with a range, or a position, of an axis replaced: `x[:, a:b] = y`."""
    v, source, dim = call["self"], call["src"], call.get("dim", 0)
    if isinstance(v, Const) or isinstance(source, Const):
        known = b.rows(source if isinstance(v, Const) else v)
        raise Unsupported(f"a constant beside a batch of {known.shape}")
    v, source = b.rows(v), b.rows(source)
    if dim % rank(v) == v.axis:
        if call.operator == "aten.slice_scatter" and source.shape == v.shape and _whole(call):
            return source
        raise MixesRows("replaces some rows of the batch")
    axis = entry_axis(v, dim)
    n = v.shape[axis]
    if call.operator == "aten.select_scatter":
        start = call["index"] % n
        stop = start + 1
        source = b.like(v, b.reshape(source.name, (*v.shape[:axis], 1, *v.shape[axis + 1 :])))
    else:
        end = n if call.get("end") is None else call["end"]
        if call.get("step", 1) != 1:
            raise Unsupported("a range with steps")
        start, stop, _ = slice(call.get("start", 0), end).indices(n)
    parts = [move.pick(b, v, axis, 0, start), source, move.pick(b, v, axis, stop, n)]
    kept = [b.rows(p) for p in parts if p.shape[axis]]
    return b.like(v, b.concat([p.name for p in kept], axis))


def _whole(call: Call) -> bool:
    end = call.get("end")
    whole = end is None or not isinstance(end, int) or end > 1 << 40
    return call.get("start", 0) == 0 and call.get("step", 1) == 1 and whole


@translates("copy")
def copied(b: Builder, call: Call) -> Value:
    """`x[...] = y`: y in the shape of x."""
    return move.broadcast(b, call["src"], call.dims[0])


@translates("index_put")
def masked_put(b: Builder, call: Call) -> Value:
    """`x[mask] = number`, with a mask of x's shape."""
    v, number = b.rows(call["self"]), scalar(call["values"])
    given = call["indices"]
    mask = given[0] if len(given) == 1 else None
    if not isinstance(mask, Rows) or mask.dtype != "bool" or mask.shape != v.shape:
        raise Unsupported("positions that are not a mask of the same shape")
    if number is None or call.get("accumulate", False) or mask.axis != v.axis:
        raise Unsupported("values that are not one number")
    return b.like(v, b.emit(ops.Where, [mask.name, b.number(number), v.name]))
