"""General tensor ops, so that ordinary torch code imports whole. NumPy's semantics, per entry."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar, Literal

from pydantic import Field

from recstack.model.ops.base import (
    Name,
    Op,
    Shape,
    WeightShapes,
    axis_of,
    broadcast,
    check_size,
    require,
)

UnaryFn = Literal[
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
    "gelu",
    "gelu_tanh",
    "silu",
    "softplus",
    "elu",
    "erf",
    "rsqrt",
    "sign",
    "floor",
    "sin",
    "cos",
]
BinaryFn = Literal[
    "add",
    "sub",
    "mul",
    "div",
    "pow",
    "maximum",
    "minimum",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
]


class Constant(Op):
    """A weight as a value; the same for every entry."""

    kind: Literal["constant"] = "constant"
    weight: Name
    weight_fields: ClassVar[tuple[str, ...]] = ("weight",)
    arity: ClassVar[tuple[int, int]] = (0, 0)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        return weights[self.weight]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 0


class Unary(Op):
    """fn(x), element by element."""

    kind: Literal["unary"] = "unary"
    fn: UnaryFn

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        return inputs[0]


class Binary(Op):
    """fn(a, b) with broadcasting. With one input, `scalar` is b (or a, with `scalar_first`).

    Comparisons give 1.0 or 0.0.
    """

    kind: Literal["binary"] = "binary"
    fn: BinaryFn
    scalar: float | None = None
    scalar_first: bool = False
    arity: ClassVar[tuple[int, int]] = (1, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        wanted = "one input and a scalar, or two inputs"
        require((self.scalar is None) == (len(inputs) == 2), wanted, self.inputs)
        return broadcast(inputs)


class Clamp(Op):
    """x limited to [low, high]; NaN stays NaN. None leaves a side open."""

    kind: Literal["clamp"] = "clamp"
    low: float | None = None
    high: float | None = None

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        return inputs[0]


class Where(Op):
    """a where condition is not 0, else b; inputs (condition, a, b), broadcast together."""

    kind: Literal["where"] = "where"
    arity: ClassVar[tuple[int, int]] = (3, 3)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        return broadcast(inputs)


class Reduce(Op):
    """fn over `axes`, kept as size 1 with `keepdims`; norm2 is the Euclidean norm."""

    kind: Literal["reduce"] = "reduce"
    fn: Literal["sum", "mean", "max", "min", "norm2", "prod"]
    axes: tuple[int, ...] = Field(min_length=1)
    keepdims: bool = False

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x = inputs[0]
        axes = {axis_of(a, len(x)) for a in self.axes}
        require(len(axes) == len(self.axes), "different axes", self.axes)
        empty = any(x[a] == 0 for a in axes)
        require(not empty or self.fn in ("sum", "prod", "norm2"), "axes that are not empty", x)
        kept = [(1 if i in axes else n) for i, n in enumerate(x) if self.keepdims or i not in axes]
        return tuple(kept)

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return prod(inputs[0])


class Matmul(Op):
    """a (..., m, k) @ b (..., k, n) with leading axes broadcast. No 1-D operands."""

    kind: Literal["matmul"] = "matmul"
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        a, b = inputs
        fits = len(a) >= 2 and len(b) >= 2 and a[-1] == b[-2]
        require(fits, "operands (..., m, k) and (..., k, n)", inputs)
        return check_size((*broadcast([a[:-2], b[:-2]]), a[-2], b[-1]))

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 2 * prod(output) * inputs[0][-1]


class _Move(Op):
    """An op that only moves data."""

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 0


class Concat(_Move):
    """Inputs side by side along an existing axis."""

    kind: Literal["concat"] = "concat"
    axis: int = -1
    arity: ClassVar[tuple[int, int]] = (1, 1 << 20)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        first = inputs[0]
        axis = axis_of(self.axis, len(first))
        for other in inputs[1:]:
            same = len(other) == len(first) and all(
                n == first[i] for i, n in enumerate(other) if i != axis
            )
            require(same, f"shapes that agree with {first} but for axis {axis}", other)
        total = sum(s[axis] for s in inputs)
        return check_size((*first[:axis], total, *first[axis + 1 :]))


class Stack(_Move):
    """Inputs of one shape side by side along a new axis."""

    kind: Literal["stack"] = "stack"
    axis: int = 0
    arity: ClassVar[tuple[int, int]] = (1, 1 << 20)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        first = inputs[0]
        require(all(s == first for s in inputs), f"inputs of shape {first}", list(inputs))
        axis = axis_of(self.axis, len(first) + 1)
        return check_size((*first[:axis], len(inputs), *first[axis:]))


class Reshape(_Move):
    """The same elements in row-major order under another entry shape."""

    kind: Literal["reshape"] = "reshape"
    shape_to: tuple[int, ...]

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        require(all(n >= 0 for n in self.shape_to), "sizes >= 0", self.shape_to)
        same = prod(self.shape_to) == prod(inputs[0])
        require(same, f"a shape of {prod(inputs[0])} elements", self.shape_to)
        return self.shape_to


class Transpose(_Move):
    """Axes in the order of `axes`."""

    kind: Literal["transpose"] = "transpose"
    axes: tuple[int, ...]

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x = inputs[0]
        require(sorted(self.axes) == list(range(len(x))), f"an order of {len(x)} axes", self.axes)
        return tuple(x[a] for a in self.axes)


class Slice(_Move):
    """x[start:stop:step] along one axis; 0 <= start <= stop <= size, step >= 1."""

    kind: Literal["slice"] = "slice"
    axis: int
    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    step: int = Field(default=1, ge=1, le=1 << 31)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x = inputs[0]
        axis = axis_of(self.axis, len(x))
        inside = self.start <= self.stop <= x[axis]
        require(inside, f"start <= stop <= {x[axis]}", (self.start, self.stop))
        return (*x[:axis], len(range(self.start, self.stop, self.step)), *x[axis + 1 :])


class Index(_Move):
    """x at constant `indices` along one axis, such as the positions of a triangle."""

    kind: Literal["index"] = "index"
    axis: int
    indices: tuple[int, ...]

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x = inputs[0]
        axis = axis_of(self.axis, len(x))
        inside = all(0 <= i < x[axis] for i in self.indices)
        require(inside, f"indices in [0, {x[axis]})", self.indices[:8])
        return check_size((*x[:axis], len(self.indices), *x[axis + 1 :]))


class Expand(_Move):
    """x broadcast to `shape_to`."""

    kind: Literal["expand"] = "expand"
    shape_to: tuple[int, ...]

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        out = broadcast([inputs[0], self.shape_to])
        require(out == self.shape_to, f"a shape that {inputs[0]} broadcasts to", self.shape_to)
        return check_size(out)
