"""A form spelled out for a framework that takes graphs: which of its ops, on which full shapes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from recstack.bench.contender import Unsupported
from recstack.bench.form import Form, Pooled
from recstack.bench.recurrences import Rnn
from recstack.model import ops
from recstack.model.ops import Shape

Floats = NDArray[np.float32]
# Beyond this, gathered rows leave the cache before they are summed: one gather per feature then.
GATHERED_BYTES = 8 << 20
UNARY = {"relu", "sigmoid", "tanh", "exp", "log", "sqrt", "abs", "neg", "erf", "floor", "sign"}
BINARY = {"add", "sub", "mul", "div", "pow", "maximum", "minimum"}
REDUCTIONS = {"sum", "mean", "max", "min"}


class Graph(Protocol):
    """A graph under construction; axis 0 is the rows, and all shapes and axes count it."""

    def dense(self) -> Any:
        """The batch's dense columns (rows, width)."""

    def pooled(self, group: int, split: bool) -> Any:
        """A group's bags side by side (rows, features * dim); `split`: one gather per feature."""

    def linear(self, x: Any, weight: Floats, bias: Floats | None, rank: int) -> Any:
        """x @ weight.T + bias over the last axis of x, which has `rank` axes."""

    def unary(self, fn: str, x: Any) -> Any:
        """fn of each element, one of UNARY."""

    def binary(self, fn: str, a: Any, b: Any) -> Any:
        """fn of two values that broadcast, one of BINARY."""

    def constant(self, array: NDArray[Any]) -> Any:
        """An array as a value."""

    def concat(self, xs: Sequence[Any], axis: int) -> Any:
        """Side by side along an axis."""

    def reshape(self, x: Any, shape: Shape) -> Any:
        """The same elements under another shape."""

    def expand(self, x: Any, shape: Shape) -> Any:
        """x broadcast to a shape."""

    def slice(self, x: Any, axis: int, start: int, stop: int, step: int) -> Any:
        """x[start:stop:step] along an axis."""

    def reduce(self, fn: str, x: Any, axes: Sequence[int], keepdims: bool) -> Any:
        """fn over axes, one of REDUCTIONS."""

    def softmax(self, x: Any, axis: int) -> Any:
        """Softmax along an axis."""

    def rnn(self, x: Any, shape: Shape, w_x: Floats, w_h: Floats, bias: Floats, all_: bool) -> Any:
        """Plain tanh RNN over x (rows, L, d) of `shape`: all states (rows, L, h), or the last."""


def lower(form: Form, rows: int, graph: Graph) -> Any:
    """Add the form to `graph`; its scores (rows, outputs). Unsupported names the op it lacks."""
    return _Lowering(form, rows, graph).scores()


class _Lowering:
    def __init__(self, form: Form, rows: int, graph: Graph) -> None:
        self._form, self._rows, self._graph = form, rows, graph
        self._values: dict[str, Any] = {}
        self._shapes: dict[str, Shape] = {}
        if form.model.dense:
            whole = graph.dense()
            for item in form.model.dense:
                at = form.columns(item.name)
                only = len(form.model.dense) == 1
                part = whole if only else graph.slice(whole, 1, at.start, at.stop, 1)
                self._put(item.name, part, (item.width,))
        self._bags = [graph.pooled(g, self._split(g)) for g in range(len(form.groups))]

    def scores(self) -> Any:
        """The outputs side by side."""
        for step in self._form.steps:
            if isinstance(step, Pooled):
                self._pooled(step)
            elif isinstance(step, Rnn):
                self._rnn(step)
            else:
                self._put(step.output, self._op(step), self._form.model.values[step.output].shape)
        names = self._form.model.outputs
        flat = [self._reshaped(n, (prod(self._shapes[n]),)) for n in names]
        return flat[0] if len(flat) == 1 else self._graph.concat(flat, 1)

    def _put(self, name: str, value: Any, shape: Shape) -> None:
        self._values[name], self._shapes[name] = value, shape

    def _split(self, group: int) -> bool:
        lookups = (
            self._rows * len(self._form.groups[group].places) * self._form.groups[group].length
        )
        dim: int = self._form.groups[group].table.shape[1]
        return self._form.groups[group].length > 1 and lookups * dim * 4 > GATHERED_BYTES

    def _pooled(self, step: Pooled) -> None:
        group = self._form.groups[step.group]
        dim = group.table.shape[1]
        value = self._bags[step.group]
        if step.count < len(group.places):
            end = step.first + step.count
            value = self._graph.slice(value, 1, step.first * dim, end * dim, 1)
        shape: Shape = (step.count * dim,) if step.flat else (step.count, dim)
        if not step.flat:
            value = self._graph.reshape(value, (self._rows, *shape))
        self._put(step.output, value, shape)

    def _rnn(self, step: Rnn) -> None:
        weight, bias = (self._form.model.weights[n] for n in (step.weight, step.bias))
        hidden = weight.shape[0]
        length, dim = self._shapes[step.inputs[0]]
        w_x, w_h = (np.ascontiguousarray(w) for w in np.split(weight, [dim], axis=1))
        x = self._values[step.inputs[0]]
        value = self._graph.rnn(x, (self._rows, length, dim), w_x, w_h, bias, step.sequence)
        self._put(step.output, value, (length, hidden) if step.sequence else (hidden,))

    def _reshaped(self, name: str, shape: Shape) -> Any:
        value = self._values[name]
        same = self._shapes[name] == shape
        return value if same else self._graph.reshape(value, (self._rows, *shape))

    def _aligned(self, names: Sequence[str]) -> list[Any]:
        """Values padded to one rank behind axis 0, as NumPy broadcasts entries."""
        rank = max(len(self._shapes[n]) for n in names)
        padded = [(1,) * (rank - len(self._shapes[n])) + self._shapes[n] for n in names]
        return [self._reshaped(n, s) for n, s in zip(names, padded, strict=True)]

    def _op(self, op: ops.Op) -> Any:
        graph, weights = self._graph, self._form.model.weights
        shape = self._shapes[op.inputs[0]]
        x = self._values[op.inputs[0]]
        if isinstance(op, ops.Linear):
            bias = None if op.bias is None else weights[op.bias]
            made = graph.linear(x, weights[op.weight], bias, len(shape) + 1)
            return made if op.activation == "none" else graph.unary(op.activation, made)
        if isinstance(op, ops.Unary) and op.fn in UNARY:
            return graph.unary(op.fn, x)
        if isinstance(op, ops.Binary) and op.fn in BINARY:
            return self._binary(op, x)
        if isinstance(op, ops.Softmax):
            return graph.softmax(x, op.axis % len(shape) + 1)
        if isinstance(op, ops.Reduce) and op.fn in REDUCTIONS:
            axes = [a % len(shape) + 1 for a in op.axes]
            return graph.reduce(op.fn, x, axes, op.keepdims)
        return self._move(op, x, shape)

    def _binary(self, op: ops.Binary, x: Any) -> Any:
        if op.scalar is None:
            return self._graph.binary(op.fn, *self._aligned(op.inputs))
        scalar = self._graph.constant(np.array(op.scalar, np.float32))
        return self._graph.binary(op.fn, *((scalar, x) if op.scalar_first else (x, scalar)))

    def _move(self, op: ops.Op, x: Any, shape: Shape) -> Any:
        graph, rows = self._graph, self._rows
        if isinstance(op, ops.Concat):
            axis = op.axis % len(shape) + 1
            return graph.concat([self._values[n] for n in op.inputs], axis)
        if isinstance(op, ops.Stack):
            axis = op.axis % (len(shape) + 1)
            wide = (*shape[:axis], 1, *shape[axis:])
            return graph.concat([self._reshaped(n, wide) for n in op.inputs], axis + 1)
        if isinstance(op, ops.Reshape):
            return self._reshaped(op.inputs[0], op.shape_to)
        if isinstance(op, ops.Expand):
            wide = (1,) * (len(op.shape_to) - len(shape)) + shape
            return graph.expand(self._reshaped(op.inputs[0], wide), (rows, *op.shape_to))
        if isinstance(op, ops.Slice):
            return graph.slice(x, op.axis % len(shape) + 1, op.start, op.stop, op.step)
        raise Unsupported(f"op {op.kind!r} has no lowering to graphs")
