"""Element-wise operators: activations, arithmetic, comparisons, masks."""

from __future__ import annotations

import math

from recstack.model import ops
from recstack.model.importing.broadcast import align, binary, scalar
from recstack.model.importing.builder import Builder
from recstack.model.importing.registry import Call, translates
from recstack.model.importing.values import (
    CLAMPED,
    TRUTH,
    Columns,
    Const,
    Rows,
    Unsupported,
    Value,
    entry_axis,
    rank,
)

_UNARY = [
    "relu",
    "sigmoid",
    "tanh",
    "exp",
    "log",
    "sqrt",
    "abs",
    "neg",
    "reciprocal",
    "square",
    "silu",
    "erf",
    "rsqrt",
    "sign",
    "floor",
    "sin",
    "cos",
]
_RENAMED = {"negative": "neg", "absolute": "abs", "sgn": "sign", "special_expit": "sigmoid"}


def _unary(fn: str) -> None:
    def translate(b: Builder, call: Call) -> Value:
        v = b.rows(call["self"])
        return b.like(v, b.unary(fn, v.name))

    translate.__doc__ = f"{fn}(x)."
    translates(" ".join([fn, *(k for k, f in _RENAMED.items() if f == fn)]))(translate)


for _fn in _UNARY:
    _unary(_fn)


@translates("gelu")
def gelu(b: Builder, call: Call) -> Value:
    """GELU, exact or by tanh."""
    v = b.rows(call["self"])
    fn = "gelu_tanh" if call.get("approximate", "none") == "tanh" else "gelu"
    return b.like(v, b.unary(fn, v.name))


@translates("elu")
def elu(b: Builder, call: Call) -> Value:
    """ELU with alpha 1."""
    if any(call.get(k, 1) != 1 for k in ("scale", "input_scale")):
        raise Unsupported("elu with a scale")
    v = b.rows(call["self"])
    return b.like(v, _elu(b, v.name, float(call.get("alpha", 1))))


def _elu(b: Builder, name: str, alpha: float, rate: float = 1.0) -> str:
    """x where x > 0, else alpha * (exp(x / rate) - 1)."""
    if alpha == rate == 1:
        return b.unary("elu", name)
    low = b.emit(ops.Clamp, [name], high=0.0)
    grown = b.unary("elu", low if rate == 1 else b.binary("div", low, rate))
    return b.binary("add", b.unary("relu", name), b.binary("mul", grown, alpha))


@translates("celu selu")
def celu(b: Builder, call: Call) -> Value:
    """max(0, x) + alpha * (exp(min(0, x) / alpha) - 1); SELU scales it (Klambauer 2017)."""
    v = b.rows(call["self"])
    if call.operator == "aten.celu":
        rate = float(call.get("alpha", 1))
        return b.like(v, _elu(b, v.name, rate, rate))
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return b.like(v, b.binary("mul", _elu(b, v.name, alpha), scale))


@translates("hardsigmoid hardswish")
def hardsigmoid(b: Builder, call: Call) -> Value:
    """(x + 3) / 6 within [0, 1]; hardswish is x times that."""
    v = b.rows(call["self"])
    shifted = b.emit(ops.Clamp, [b.binary("add", v.name, 3.0)], low=0.0, high=6.0)
    name = b.binary("div", shifted, 6.0)
    return b.like(v, name if call.operator == "aten.hardsigmoid" else b.binary("mul", v.name, name))


@translates("expm1")
def expm1(b: Builder, call: Call) -> Value:
    """exp(x) - 1."""
    v = b.rows(call["self"])
    grown = b.binary("sub", b.unary("exp", v.name), 1.0)
    low = b.binary("gt", v.name, 0.0)
    return b.like(v, b.emit(ops.Where, [low, grown, b.unary("elu", v.name)]))


@translates("log2 log10")
def log_of_base(b: Builder, call: Call) -> Value:
    """The logarithm to base 2 or 10."""
    v = b.rows(call["self"])
    base = float(call.operator.removeprefix("aten.log"))
    return b.like(v, b.binary("mul", b.unary("log", v.name), 1 / math.log(base)))


@translates("glu")
def glu(b: Builder, call: Call) -> Value:
    """The first half of an axis times the sigmoid of the other."""
    v = b.rows(call["self"])
    axis = entry_axis(v, call.get("dim", -1))
    half = v.shape[axis] // 2
    one, two = b.slice(v.name, axis, 0, half), b.slice(v.name, axis, half, 2 * half)
    return b.like(v, b.binary("mul", one, b.unary("sigmoid", two)))


@translates("trunc fix ceil")
def whole(b: Builder, call: Call) -> Value:
    """Rounded towards 0, or up."""
    v = b.rows(call["self"])
    if call.operator == "aten.ceil":
        return b.like(v, b.unary("neg", b.unary("floor", b.unary("neg", v.name))))
    return b.like(v, b.truncate(v.name))


@translates("isnan")
def isnan(b: Builder, call: Call) -> Value:
    """1 where x is not a number, else 0."""
    v = b.rows(call["self"])
    return b.like(v, b.binary("ne", v.name, v.name))


@translates("nan_to_num")
def nan_to_num(b: Builder, call: Call) -> Value:
    """Numbers in place of NaN and of the infinities."""
    v = b.rows(call["self"])
    largest = 3.4028234663852886e38
    kept = b.emit(ops.Clamp, [v.name], low=-largest, high=largest)
    for key, end in (("posinf", math.inf), ("neginf", -math.inf)):
        if call.get(key) is not None:
            infinite = b.binary("eq", v.name, end)
            kept = b.emit(ops.Where, [infinite, b.number(call[key]), kept])
    nan = b.binary("ne", v.name, v.name)
    return b.like(v, b.emit(ops.Where, [nan, b.number(call.get("nan", 0.0)), kept]))


@translates("bucketize")
def bucketize(b: Builder, call: Call) -> Value:
    """How many constant boundaries lie below x; with `right`, how many do not lie above."""
    v, ends = b.rows(call["self"]), call["boundaries"]
    if not isinstance(ends, Const):
        raise Unsupported("boundaries that depend on the data")
    column = b.reshape(v.name, (*v.shape, 1))
    over = b.binary("ge" if call.get("right", False) else "gt", column, b.constant(ends))
    return b.like(v, b.reduce("sum", over, [len(v.shape)]))


@translates("softplus")
def softplus(b: Builder, call: Call) -> Value:
    """softplus with beta 1."""
    if call.get("beta", 1) != 1 or call.get("threshold", 20) < 20:
        raise Unsupported("softplus with other than beta 1")
    v = b.rows(call["self"])
    return b.like(v, b.unary("softplus", v.name))


@translates("leaky_relu")
def leaky_relu(b: Builder, call: Call) -> Value:
    """x where x > 0, else slope * x."""
    import torch

    v = b.rows(call["self"])
    slope = b.weight(Const(torch.tensor([float(call.get("negative_slope", 0.01))])))
    return b.like(v, b.emit(ops.Prelu, [v.name], slope=slope))


@translates("log_sigmoid")
def log_sigmoid(b: Builder, call: Call) -> Value:
    """-softplus(-x)."""
    v = b.rows(call["self"])
    return b.like(v, b.unary("neg", b.unary("softplus", b.unary("neg", v.name))))


@translates("mish")
def mish(b: Builder, call: Call) -> Value:
    """x * tanh(softplus(x))."""
    v = b.rows(call["self"])
    return b.like(v, b.binary("mul", v.name, b.unary("tanh", b.unary("softplus", v.name))))


@translates("log1p")
def log1p(b: Builder, call: Call) -> Value:
    """log(1 + x)."""
    v = b.rows(call["self"])
    return b.like(v, b.unary("log", b.binary("add", v.name, 1.0)))


@translates("hardtanh relu6 clamp clamp_min clamp_max clip")
def clamp(b: Builder, call: Call) -> Value:
    """x between two bounds."""
    low, high = call.get("min", call.get("min_val")), call.get("max", call.get("max_val"))
    if call.operator == "aten.relu6":
        low, high = 0.0, 6.0
    elif call.operator == "aten.hardtanh":
        low, high = (-1.0 if low is None else low), (1.0 if high is None else high)
    v = call["self"]
    if isinstance(v, Columns) and v.integer and high is None and low == 0:
        return v.marked(CLAMPED)
    v = b.rows(v)
    bounds = [None if x is None else scalar(x) for x in (low, high)]
    if any(x is not None and s is None for x, s in zip((low, high), bounds, strict=True)):
        for x, fn in ((low, "maximum"), (high, "minimum")):
            if x is not None:
                v = binary(b, fn, v, x)
        return v
    ends = [None if s is None or math.isinf(s) else s for s in bounds]
    return b.like(v, b.emit(ops.Clamp, [v.name], low=ends[0], high=ends[1]))


def scaled(b: Builder, v: Value, by: float) -> Value:
    """by * v, a tensor or a number."""
    if by == 1 or not isinstance(v, Rows | Columns):
        return Const(v.tensor * by) if isinstance(v, Const) else v if by == 1 else v * by
    return binary(b, "mul", v, by)


@translates("add sub rsub subtract")
def add(b: Builder, call: Call) -> Value:
    """a + alpha * b; a constant added to indices becomes their row offset."""
    one, two, alpha = call["self"], call["other"], call.get("alpha", 1)
    fn = "add" if call.operator == "aten.add" else "sub"
    if call.operator == "aten.rsub":
        return binary(b, fn, two, scaled(b, one, alpha))
    if call.dtypes[0] == "bool":  # of truth values, a sum is an or
        return binary(b, "maximum", one, two)
    shifted = _shifted(one, two, fn) or (_shifted(two, one, fn) if fn == "add" else None)
    if shifted is not None and alpha == 1:
        return shifted
    return binary(b, fn, one, scaled(b, two, alpha))


def _shifted(v: Value, by: Value, fn: str) -> Columns | None:
    """Indices with a constant added to each."""
    import numpy as np

    if not isinstance(v, Columns) or not v.integer or (v.cells[..., 3] & (CLAMPED | TRUTH)).any():
        return None
    number = scalar(by)
    if number is not None and number == int(number):
        offset = np.asarray(int(number))
    elif isinstance(by, Const) and not by.tensor.dtype.is_floating_point and not v.merged:
        right, t = rank(v) - 1 - v.axis, by.tensor
        if t.ndim > right:
            at = t.ndim - 1 - right
            if t.shape[at] != 1:
                return None
            t = t.squeeze(at)
        offset = t.cpu().numpy()
    else:
        return None
    if np.broadcast_shapes(offset.shape, v.shape) != v.shape:
        return None
    cells = v.cells.copy()
    cells[..., 2] += np.broadcast_to(offset if fn == "add" else -offset, v.shape)
    return Columns(cells, True, v.axis, v.merged)


@translates("mul div multiply divide true_divide pow maximum minimum floor_divide")
def arithmetic(b: Builder, call: Call) -> Value:
    """a fn b, with broadcasting."""
    fn = {"multiply": "mul", "divide": "div", "true_divide": "div", "floor_divide": "div"}
    name = call.operator.removeprefix("aten.")
    one = call.get("self")
    two = call.get("other", call.get("exponent"))
    if name == "pow" and scalar(two) == 2:
        x = b.rows(one)
        return b.like(x, b.unary("square", x.name))
    if name == "pow" and scalar(two) == 0.5:
        x = b.rows(one)
        return b.like(x, b.unary("sqrt", x.name))
    out = binary(b, fn.get(name, name), one, two)
    mode = call.get("rounding_mode", "floor" if name == "floor_divide" else None)
    if mode is None:
        return out
    if mode != "floor":
        raise Unsupported(f"division rounded by {mode!r}")
    return b.like(out, b.unary("floor", out.name))


@translates("max.other")  # reached through `reduce.maximum`
def _elementwise_max(b: Builder, call: Call) -> Value:
    """The larger of two tensors."""
    return binary(b, "maximum", call["self"], call["other"])


@translates("min.other")
def _elementwise_min(b: Builder, call: Call) -> Value:
    """The smaller of two tensors."""
    return binary(b, "minimum", call["self"], call["other"])


@translates("eq ne lt le gt ge not_equal greater greater_equal less less_equal")
def compare(b: Builder, call: Call) -> Value:
    """1 where the comparison holds, else 0; of indices with the padding index, their mask."""
    long = {"not_equal": "ne", "greater": "gt", "greater_equal": "ge", "less": "lt"}
    name = call.operator.removeprefix("aten.")
    fn = long.get(name, "le" if name == "less_equal" else name)
    one, two = call["self"], call["other"]
    mask = _mask(b, fn, one, two)
    return binary(b, fn, one, two) if mask is None else mask


def _mask(b: Builder, fn: str, v: Value, other: Value) -> Rows | None:
    """The mask of a sequence of indices, where the comparison is one."""
    padding = scalar(other)
    if not isinstance(v, Columns) or not v.integer or padding is None or not b.is_looked_up(v):
        return None
    if fn in ("gt", "le") and padding == 0:
        fn = "ne" if fn == "gt" else "eq"
    elif fn in ("ge", "lt") and padding == 1:
        fn, padding = ("ne" if fn == "ge" else "eq"), 0.0
    if fn not in ("ne", "eq") or padding < 0 or padding != int(padding) or not v.shape:
        return None
    feature = b.feature(v.cells)
    if feature is None:
        return None
    name = b.emit(ops.SequenceMask, [feature], padding_index=int(padding))
    if fn == "eq":
        name = b.binary("sub", name, 1.0, first=True)
    return Rows(b.reshape(name, v.shape), v.shape, v.axis, v.merged)


@translates("logical_not bitwise_not")
def not_(b: Builder, call: Call) -> Value:
    """1 where x is 0, else 0."""
    v = b.rows(call["self"])
    if call.dtypes[0] != "bool":
        raise Unsupported("the bits of integers")
    return b.like(v, b.binary("eq", v.name, 0.0))


@translates(
    "logical_and bitwise_and __and__ logical_or bitwise_or __or__ logical_xor bitwise_xor __xor__"
)
def logic(b: Builder, call: Call) -> Value:
    """Masks combined."""
    if call.dtypes[0] != "bool":
        raise Unsupported("the bits of integers")
    fn = "mul" if "and" in call.operator else "maximum" if "_or" in call.operator else "ne"
    return binary(b, fn, _truth(b, call["self"]), _truth(b, call["other"]))


def _truth(b: Builder, v: Value) -> Value:
    """1 where v is not 0, else 0."""
    if not isinstance(v, Rows | Columns):
        return Const(v.tensor != 0) if isinstance(v, Const) else float(bool(v))
    x = b.rows(v)
    return x if x.dtype == "bool" else b.like(x, b.binary("ne", x.name, 0.0))


@translates("where")
def where(b: Builder, call: Call) -> Value:
    """a where the condition holds, else b."""
    three = align(b, [call["condition"], call["self"], call["other"]])
    return three.wrap(b, b.emit(ops.Where, three.names))


@translates("masked_fill")
def masked_fill(b: Builder, call: Call) -> Value:
    """A number where the mask holds."""
    three = align(b, [call["mask"], call["value"], call["self"]])
    return three.wrap(b, b.emit(ops.Where, three.names))


@translates("lerp")
def lerp(b: Builder, call: Call) -> Value:
    """start + weight * (end - start)."""
    change = binary(b, "sub", call["end"], call["self"])
    return binary(b, "add", call["self"], binary(b, "mul", change, call["weight"]))


@translates("addcmul addcdiv")
def addcmul(b: Builder, call: Call) -> Value:
    """self + value * tensor1 (* or /) tensor2."""
    fn = "mul" if call.operator == "aten.addcmul" else "div"
    product = binary(b, fn, call["tensor1"], call["tensor2"])
    return binary(b, "add", call["self"], scaled(b, product, call.get("value", 1)))
