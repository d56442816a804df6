"""Reductions, norms and softmax."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.broadcast import align, scalar
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import TRANSLATORS, Call, translates
from recstack.model.importing.values import (
    MixesRows,
    Rows,
    Unsupported,
    Value,
    entry_axis,
    rank,
    removed,
)


def reduced(b: Builder, fn: str, v: Rows, dim: Value, keepdim: bool) -> Rows:
    """fn of `v` over the tensor's axes `dim` (None: all)."""
    given = dim if isinstance(dim, list | tuple) else [dim]
    if dim is None or not given:
        raise MixesRows("reduces over all axes, the batch axis among them")
    if v.axis in {d % rank(v) for d in given}:
        raise MixesRows("reduces over the batch axis")
    axes = [entry_axis(v, d) for d in given]
    name = b.reduce(fn, v.name, axes, keepdim)
    return b.like(v, name, v.axis if keepdim else removed(v, list(given)))


@translates("sum mean amax amin prod")
def reduce(b: Builder, call: Call) -> Value:
    """Sum, mean and so on over axes."""
    fn = {"aten.amax": "max", "aten.amin": "min"}.get(
        call.operator, call.operator.removeprefix("aten.")
    )
    return reduced(b, fn, b.rows(call["self"]), call.get("dim"), call.get("keepdim", False))


@translates("max min")
def extreme(b: Builder, call: Call) -> Value:
    """The largest or smallest along an axis; of two tensors, element by element."""
    if "other" in call.values:
        return TRANSLATORS[f"{call.operator}.other"](b, call)
    if call.get("dim") is None:
        raise MixesRows("reduces over all axes, the batch axis among them")
    fn = call.operator.removeprefix("aten.")
    out = reduced(b, fn, b.rows(call["self"]), call["dim"], call.get("keepdim", False))
    return (out, None)


@translates("count_nonzero")
def count(b: Builder, call: Call) -> Value:
    """How many elements along axes are not 0."""
    v = b.rows(call["self"])
    return reduced(b, "sum", b.like(v, b.binary("ne", v.name, 0.0)), call.get("dim"), False)


@translates("any all")
def truth(b: Builder, call: Call) -> Value:
    """Whether any or all elements along axes are not 0."""
    v = b.rows(call["self"])
    v = b.like(v, b.binary("ne", v.name, 0.0))
    fn = "max" if call.operator == "aten.any" else "min"
    return reduced(b, fn, v, call.get("dim"), call.get("keepdim", False))


@translates("linalg_vector_norm norm")
def norm(b: Builder, call: Call) -> Value:
    """The 1-, 2- or infinity-norm along axes."""
    v = b.rows(call["self"])
    order = scalar(call.get("ord", call.get("p", 2)))
    dim, keep = call.get("dim"), call.get("keepdim", False)
    if order == 2:
        return reduced(b, "norm2", v, dim, keep)
    v = b.like(v, b.unary("abs", v.name))
    if order == 1:
        return reduced(b, "sum", v, dim, keep)
    if order == float("inf"):
        return reduced(b, "max", v, dim, keep)
    raise Unsupported(f"a norm of order {order}")


@translates("var std")
def variance(b: Builder, call: Call) -> Value:
    """Variance or deviation along axes."""
    v, dim = b.rows(call["self"]), call.get("dim")
    dims = dim if isinstance(dim, list | tuple) else [dim]
    mean = reduced(b, "mean", v, dim, True)
    square = b.unary("square", b.binary("sub", v.name, mean.name))
    count = 1
    for d in dims:
        count *= v.shape[entry_axis(v, d)]
    correction = call.get("correction", 1 if call.get("unbiased", True) else 0)
    total = reduced(b, "sum", b.like(v, square), dim, call.get("keepdim", False))
    name = b.binary("div", total.name, float(max(count - correction, 0)))
    return b.like(total, b.unary("sqrt", name) if call.operator == "aten.std" else name)


@translates("softmax _softmax log_softmax _log_softmax")
def softmax(b: Builder, call: Call) -> Value:
    """Softmax along an axis; its logarithm is x - logsumexp(x)."""
    v = b.rows(call["self"])
    axis = entry_axis(v, call["dim"])
    if "log_" in call.operator:
        return b.like(v, b.binary("sub", v.name, _logsumexp(b, v, call["dim"], True).name))
    return b.like(v, b.emit(ops.Softmax, [v.name], axis=axis))


@translates("logsumexp")
def logsumexp(b: Builder, call: Call) -> Value:
    """log(sum(exp(x - max))) + max."""
    return _logsumexp(b, b.rows(call["self"]), call["dim"], call.get("keepdim", False))


def _logsumexp(b: Builder, v: Rows, dim: Value, keep: bool) -> Rows:
    top = reduced(b, "max", v, dim, True)
    shifted = b.like(v, b.unary("exp", b.binary("sub", v.name, top.name)))
    total = reduced(b, "sum", shifted, dim, keep)
    out = b.unary("log", total.name)
    return b.like(total, b.binary("add", out, b.reshape(top.name, total.shape)))


@translates("cosine_similarity")
def cosine_similarity(b: Builder, call: Call) -> Value:
    """The dot product of two tensors scaled to length 1."""
    both = align(b, [call["x1"], call["x2"]])
    dim, eps = call.get("dim", 1), call.get("eps", 1e-8)
    units = []
    for name in both.names:
        v = both.wrap(b, name)
        length = reduced(b, "norm2", v, dim, True)
        limited = b.emit(ops.Clamp, [length.name], low=eps)
        units.append(b.binary("div", name, limited))
    product = both.wrap(b, b.binary("mul", units[0], units[1]))
    return reduced(b, "sum", product, dim, False)


@translates("pairwise_distance")
def pairwise_distance(b: Builder, call: Call) -> Value:
    """The length of x1 - x2 + eps along the last axis."""
    if call.get("p", 2) != 2:
        raise Unsupported("a distance of other than order 2")
    both = align(b, [call["x1"], call["x2"]])
    change = b.binary("add", b.binary("sub", both.names[0], both.names[1]), call.get("eps", 1e-6))
    return reduced(b, "norm2", both.wrap(b, change), -1, call.get("keepdim", False))
