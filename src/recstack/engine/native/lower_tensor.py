"""Steps of the general tensor ops."""

from __future__ import annotations

import itertools
from math import inf, prod
from typing import get_args

import numpy as np

from recstack.engine.native.lower import lowers
from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.engine.native.runs import (
    Shape,
    broadcast_runs,
    broadcast_strides,
    merge_axes,
    strides,
)
from recstack.model.ops import (
    Binary,
    Clamp,
    Concat,
    Expand,
    Index,
    Matmul,
    Op,
    Reduce,
    Reshape,
    Slice,
    Stack,
    Transpose,
    Unary,
    Where,
)
from recstack.model.ops.tensor import BinaryFn, UnaryFn

UNARY = {fn: i for i, fn in enumerate(get_args(UnaryFn))}
BINARY = {fn: i for i, fn in enumerate(get_args(BinaryFn))}
REDUCE = {fn: i for i, fn in enumerate(("sum", "mean", "max", "min", "norm2", "prod"))}


def emit_copy(
    plan: Plan,
    scope: ScopeName,
    x: Place,
    out: Place,
    sizes: Shape,
    x_steps: Shape,
    out_steps: Shape,
) -> None:
    """A strided copy of an entry."""
    merged = merge_axes(sizes, x_steps, out_steps)
    plan.emit("copy", scope, [x, out], [len(merged[0]), *itertools.chain(*merged)])


@lowers(Unary)
def unary(plan: Plan, op: Unary) -> None:
    scope = plan.scope_of(op.output)
    operands = [plan.operand(op.inputs[0], scope), plan.result(op.output)]
    plan.emit("unary", scope, operands, [UNARY[op.fn], plan.model.values[op.output].elements])


@lowers(Clamp)
def clamp(plan: Plan, op: Clamp) -> None:
    scope = plan.scope_of(op.output)
    operands = [plan.operand(op.inputs[0], scope), plan.result(op.output)]
    limits = [-inf if op.low is None else op.low, inf if op.high is None else op.high]
    plan.emit("clamp", scope, operands, [plan.model.values[op.output].elements], limits)


@lowers(Binary)
def binary(plan: Plan, op: Binary) -> None:
    scope = plan.scope_of(op.output)
    operands = [plan.operand(name, scope, in_place=True) for name in op.inputs]
    shapes = [plan.model.values[name].shape for name in op.inputs]
    if op.scalar is not None:
        scalar = Place("constant", data=np.array([op.scalar], np.float32))
        operands.insert(0 if op.scalar_first else 1, scalar)
        shapes.insert(0 if op.scalar_first else 1, ())
    n, steps, offsets = broadcast_runs(shapes, plan.model.values[op.output].shape)
    ints = [BINARY[op.fn], n, *steps, len(offsets), *itertools.chain(*offsets)]
    plan.emit("binary", scope, [*operands, plan.result(op.output)], ints)


@lowers(Where)
def where(plan: Plan, op: Where) -> None:
    scope = plan.scope_of(op.output)
    shapes = [plan.model.values[name].shape for name in op.inputs]
    n, steps, offsets = broadcast_runs(shapes, plan.model.values[op.output].shape)
    operands = [plan.operand(name, scope, in_place=True) for name in op.inputs]
    ints = [n, *steps, len(offsets), *itertools.chain(*offsets)]
    plan.emit("where", scope, [*operands, plan.result(op.output)], ints)


@lowers(Reduce)
def reduce(plan: Plan, op: Reduce) -> None:
    scope = plan.scope_of(op.output)
    shape = plan.model.values[op.inputs[0]].shape
    x, out = plan.operand(op.inputs[0], scope), plan.result(op.output)
    axes = sorted(a % len(shape) for a in op.axes)
    if axes != list(range(axes[0], axes[-1] + 1)):
        kept = [a for a in range(len(shape)) if a not in axes]
        turned = plan.new_buffer(scope, prod(shape), dense=True)
        order = (*kept, *axes)
        new_shape = tuple(shape[a] for a in order)
        x_steps = tuple(strides(shape)[a] for a in order)
        emit_copy(plan, scope, x, turned, new_shape, x_steps, strides(new_shape))
        x, shape, axes = turned, new_shape, list(range(len(kept), len(shape)))
    outer, m = prod(shape[: axes[0]]), prod(shape[a] for a in axes)
    plan.emit("reduce", scope, [x, out], [REDUCE[op.fn], outer, m, prod(shape[axes[-1] + 1 :])])


@lowers(Matmul)
def matmul(plan: Plan, op: Matmul) -> None:
    scope = plan.scope_of(op.output)
    (a, b) = (plan.model.values[name].shape for name in op.inputs)
    out = plan.model.values[op.output].shape
    m, k, n = a[-2], a[-1], b[-1]
    batches = prod(out[:-2])
    lead = np.indices(out[:-2]).reshape(len(out) - 2, batches) if len(out) > 2 else None
    offsets = [[0, 0, 0]]
    if lead is not None:
        columns = [
            np.array([s * block for s in broadcast_strides(shape[:-2], out[:-2])], np.int64) @ lead
            for shape, block in ((a, m * k), (b, k * n), (out, m * n))
        ]
        offsets = np.stack(columns, axis=1).tolist()
    operands = [plan.operand(name, scope, in_place=True) for name in op.inputs]
    ints = [m, k, n, 0, batches, *itertools.chain(*offsets)]
    plan.emit("matmul", scope, [*operands, plan.result(op.output)], ints)


@lowers(Concat, Stack)
def concat(plan: Plan, op: Concat | Stack) -> None:
    scope = plan.scope_of(op.output)
    shape = plan.model.values[op.output].shape
    axis = op.axis % len(shape)
    outer, row = prod(shape[:axis]), prod(shape[axis:])
    whole, column = plan.result(op.output), 0
    for name in op.inputs:
        value = plan.model.values[name]
        part = value.elements // outer if outer else 0
        target = whole.part(column)
        column += part
        if same_place(plan.places.get(name), target):
            continue
        x = plan.operand(name, scope, in_place=True)
        emit_copy(plan, scope, x, target, (outer, part), (part, 1), (row, 1))


def same_place(place: Place | None, target: Place) -> bool:
    """Whether a value already lies where it is wanted."""
    return (
        place is not None
        and place.buffer is not None
        and place.buffer is target.buffer
        and place.column == target.column
    )


@lowers(Reshape)
def reshape(plan: Plan, op: Reshape) -> None:
    scope = plan.scope_of(op.output)
    x = plan.operand(op.inputs[0], scope)
    if op.output not in plan.places:
        plan.places[op.output] = x
    elif not same_place(x, plan.places[op.output]):
        n = plan.model.values[op.output].elements
        emit_copy(plan, scope, x, plan.places[op.output], (n,), (1,), (1,))


@lowers(Slice)
def slice_(plan: Plan, op: Slice) -> None:
    scope = plan.scope_of(op.output)
    x = plan.operand(op.inputs[0], scope)
    shape = plan.model.values[op.inputs[0]].shape
    axis = op.axis % len(shape)
    steps = strides(shape)
    start = x.part(op.start * steps[axis])
    if prod(shape[:axis]) == 1 and op.step == 1 and op.output not in plan.places:
        plan.places[op.output] = start
        return
    x_steps = tuple(s * (op.step if i == axis else 1) for i, s in enumerate(steps))
    _move(plan, op, start, x_steps)


@lowers(Transpose)
def transpose(plan: Plan, op: Transpose) -> None:
    x = plan.operand(op.inputs[0], plan.scope_of(op.output))
    own = strides(plan.model.values[op.inputs[0]].shape)
    _move(plan, op, x, tuple(own[a] for a in op.axes))


@lowers(Expand)
def expand(plan: Plan, op: Expand) -> None:
    x = plan.operand(op.inputs[0], plan.scope_of(op.output))
    shape = plan.model.values[op.inputs[0]].shape
    _move(plan, op, x, broadcast_strides(shape, plan.model.values[op.output].shape))


def _move(plan: Plan, op: Op, x: Place, x_steps: Shape) -> None:
    """Copy the output's elements from where `x_steps` find them."""
    out = plan.model.values[op.output].shape
    scope = plan.scope_of(op.output)
    emit_copy(plan, scope, x, plan.result(op.output), out, x_steps, strides(out))


@lowers(Index)
def index(plan: Plan, op: Index) -> None:
    scope = plan.scope_of(op.output)
    shape = plan.model.values[op.inputs[0]].shape
    axis = op.axis % len(shape)
    operands = [plan.operand(op.inputs[0], scope), plan.result(op.output)]
    ints = [prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), *op.indices]
    plan.emit("index", scope, operands, ints)
