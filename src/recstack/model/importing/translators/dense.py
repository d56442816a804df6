"""Layers: linear, normalisations, PReLU."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.broadcast import binary, scalar
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.values import (
    Const,
    MixesRows,
    Rows,
    Unsupported,
    Value,
    entry_axis,
    rank,
)


def linear_over(b: Builder, x: Rows, weight: Const, bias: Const | None = None) -> Rows:
    """x @ weight.T + bias over the last axis; weight (out, in)."""
    entry_axis(x, -1)
    fields = {"weight": b.weight(weight), "bias": None if bias is None else b.weight(bias)}
    return b.like(x, b.emit(ops.Linear, [x.name], **fields))


def constant(v: Value, what: str) -> Const:
    """`v`, known to be a constant."""
    if not isinstance(v, Const):
        raise Unsupported(f"a {what} that depends on the data")
    return v


def optional(v: Value, what: str) -> Const | None:
    """`v`, a constant or None."""
    return None if v is None else constant(v, what)


@translates("linear")
def linear(b: Builder, call: Call) -> Value:
    """A linear layer."""
    weight = constant(call["weight"], "weight")
    if weight.tensor.ndim != 2:
        raise Unsupported("a weight without two axes")
    x = b.rows(call["input"])
    return linear_over(b, x, weight, optional(call.get("bias"), "bias"))


@translates("batch_norm _native_batch_norm_legit_no_training")
def batch_norm(b: Builder, call: Call) -> Value:
    """Batch norm at inference: per channel (axis 1 of the tensor), by the running statistics."""
    mean, variance = call.get("running_mean"), call.get("running_var")
    if call.get("training", False) or mean is None or variance is None:
        raise MixesRows("batch norm without running statistics")
    x = b.rows(call["input"])
    fields = {
        "mean": b.weight(constant(mean, "mean")),
        "variance": b.weight(constant(variance, "variance")),
        "eps": call["eps"],
        "axis": entry_axis(x, 1),
    }
    for name in ("weight", "bias"):
        given = optional(call.get(name), name)
        fields[name] = None if given is None else b.weight(given)
    out = b.like(x, b.emit(ops.BatchNorm, [x.name], **fields))
    return out if call.operator == "aten.batch_norm" else (out, None, None)


@translates("layer_norm native_layer_norm")
def layer_norm(b: Builder, call: Call) -> Value:
    """Layer norm over the last axis; over several, they are folded into one for it."""
    x, n = b.rows(call["input"]), len(call["normalized_shape"])
    if any(d % rank(x) == x.axis for d in range(-n, 0)):
        raise MixesRows("normalises over the batch axis")
    flat = 1
    for size in x.shape[-n:]:
        flat *= size
    name = b.reshape(x.name, (*x.shape[:-n], flat))
    fields = {"eps": call["eps"]}
    for field in ("weight", "bias"):
        given = optional(call.get(field), field)
        fields[field] = None
        if given is not None:
            tensor = given.tensor if n == 1 else given.tensor.reshape(-1)
            fields[field] = b.weight(Const(tensor, given.name))
    out = b.reshape(b.emit(ops.LayerNorm, [name], **fields), x.shape)
    return b.like(x, out) if call.operator == "aten.layer_norm" else (b.like(x, out), None, None)


@translates("prelu")
def prelu(b: Builder, call: Call) -> Value:
    """PReLU; a slope per channel follows axis 1 of the tensor."""
    x, slope = b.rows(call["self"]), constant(call["weight"], "slope")
    flat = Const(slope.tensor.reshape(-1), slope.name)
    axis = -1 if flat.tensor.numel() == 1 or rank(x) == 1 else entry_axis(x, 1)
    return b.like(x, b.emit(ops.Prelu, [x.name], slope=b.weight(flat), axis=axis))


@translates("rms_norm")
def rms_norm(b: Builder, call: Call) -> Value:
    """x / sqrt(mean(x * x) + eps) * weight over the last axis."""
    x = b.rows(call["input"])
    if len(call["normalized_shape"]) != 1:
        raise Unsupported("rms_norm over several axes")
    entry_axis(x, -1)
    eps = scalar(call.get("eps", 1.1920928955078125e-07))
    square = b.reduce("mean", b.unary("square", x.name), [len(x.shape) - 1], True)
    out = b.binary("mul", x.name, b.unary("rsqrt", b.binary("add", square, eps or 0.0)))
    return (
        b.like(x, out)
        if call.get("weight") is None
        else binary(b, "mul", b.like(x, out), call["weight"])
    )
