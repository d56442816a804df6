"""Operators that make a tensor of the batch's size from nothing."""

from __future__ import annotations

from recstack.model.importing.broadcast import scalar
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.values import (
    BatchDim,
    Columns,
    Const,
    Merged,
    Rows,
    Steps,
    Unsupported,
    Value,
    batch_axis,
    entry_of,
)


@translates(
    "zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor fill"
)
def full(b: Builder, call: Call) -> Value:
    """One number everywhere."""
    import torch

    fill = 0.0 if "zeros" in call.operator else 1.0 if "ones" in call.operator else None
    number = scalar(call.get("fill_value", call.get("value"))) if fill is None else fill
    if number is None:
        raise Unsupported("a fill value that depends on the data")
    dims, axis = call.dims[0], batch_axis(call.dims[0])
    like = call.get("self")
    if axis is None and isinstance(like, Rows | Columns) and "like" in call.operator:
        axis = like.axis
    if axis is None:
        return Const(torch.full([d for d in dims if isinstance(d, int)], number))
    shape = entry_of(dims, axis)
    size = dims[axis]
    name = b.constant(Const(torch.full(shape, number)))
    folded = isinstance(size, BatchDim) and size.times != 1
    return Rows(name, shape, axis, Merged(after=int(folded)))


@translates("arange")
def arange(b: Builder, call: Call) -> Value:
    """0, step, 2 * step ... for each row."""
    start, step = call.get("start", 0), call.get("step", 1)
    if call.dims[0] != (BatchDim(1),) or start != 0 or not isinstance(step, int):
        raise Unsupported("a range whose length depends on the data")
    return Steps(step)
