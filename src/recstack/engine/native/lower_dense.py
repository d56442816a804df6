"""Steps of dense layers, interactions and normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.hoist import ResumedLinear
from recstack.engine.native.lower import lowers
from recstack.engine.native.lower_dense8 import emit_linear8, runs_in_int8
from recstack.engine.native.passes import batch_norm_affine, normaliser
from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.engine.precision import DenseFormat, LayerPrecision
from recstack.model.ops import (
    BatchNorm,
    Cross,
    Dice,
    DotInteraction,
    LayerNorm,
    Linear,
    Op,
    Prelu,
    Softmax,
)

ACTIVATIONS = {"none": 0, "relu": 1, "sigmoid": 2, "tanh": 3}
# WeightFormat of gemm.h
WEIGHT_FORMATS: dict[DenseFormat, int] = {"fp32": 0, "bf16": 1, "fp16": 2}


def emit_linear(
    plan: Plan,
    scope: ScopeName,
    x: Place,
    out: Place,
    inner: int,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    activation: str = "none",
    start: Place | None = None,
    precision: LayerPrecision | None = None,
) -> None:
    """out = activation(start + x @ weight.T + bias) for `inner` rows per entry.

    precision: that of the op being lowered, unless given.
    """
    n, k = weight.shape
    precision = precision or plan.precision
    weights = [weight] if bias is None else [weight, bias]
    operands = [x, out] if start is None else [x, start, out]
    ints = [inner, k, n, ACTIVATIONS[activation]]
    if runs_in_int8(precision, n, k):
        emit_linear8(plan, scope, operands, ints, weights, precision)
    else:
        weight_format = WEIGHT_FORMATS.get(precision.format, 0)
        plan.emit("linear", scope, operands, [*ints, weight_format], weights=weights)


@lowers(Linear)
def linear(plan: Plan, op: Linear) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    bias = weights[op.bias] if op.bias else None
    inner = prod(plan.model.values[op.output].shape[:-1])
    x = plan.operand(op.inputs[0], scope)
    out = plan.result(op.output)
    emit_linear(plan, scope, x, out, inner, weights[op.weight], bias, op.activation)


@lowers(ResumedLinear)
def resumed_linear(plan: Plan, op: ResumedLinear) -> None:
    weights = plan.model.weights
    x, sums = plan.operand(op.inputs[0], "item"), plan.places[op.inputs[1]]
    bias = weights[op.bias] if op.bias else None
    out = plan.result(op.output)
    emit_linear(plan, "item", x, out, 1, weights[op.weight], bias, op.activation, start=sums)


@lowers(DotInteraction)
def dot_interaction(plan: Plan, op: DotInteraction) -> None:
    scope = plan.scope_of(op.output)
    features, dim = plan.model.values[op.inputs[0]].shape
    ints = [features, dim, op.order == "upper", op.self_pairs]
    plan.emit("dot", scope, [plan.operand(op.inputs[0], scope), plan.result(op.output)], ints)


@lowers(Cross)
def cross(plan: Plan, op: Cross) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    x0, x = (plan.operand(name, scope) for name in op.inputs)
    at, precision = x, plan.precision
    if op.weight_v:
        hidden = plan.new_buffer(scope, weights[op.weight_v].shape[0])
        emit_linear(plan, scope, x, hidden, 1, weights[op.weight_v], None)
        at, precision = hidden, precision.of_inner()
    n = plan.model.values[op.output].elements
    y = plan.new_buffer(scope, n)
    bias = weights[op.bias] if op.bias else None
    emit_linear(plan, scope, at, y, 1, weights[op.weight_u], bias, precision=precision)
    plan.emit("cross", scope, [x0, y, x, plan.result(op.output)], [n])


@lowers(LayerNorm)
def layer_norm(plan: Plan, op: LayerNorm) -> None:
    given = [plan.model.weights[w] for w in (op.weight, op.bias) if w]
    _per_run(plan, op, "layer_norm", -1, [], [bool(op.weight), bool(op.bias)], [op.eps], given)


@lowers(BatchNorm)
def batch_norm(plan: Plan, op: BatchNorm) -> None:
    _per_run(plan, op, "affine", op.axis, list(batch_norm_affine(plan.model, op)))


@lowers(Prelu)
def prelu(plan: Plan, op: Prelu) -> None:
    slope = plan.model.weights[op.slope]
    if slope.size == 1:
        _per_run(plan, op, "prelu", 0, [], [0], weights=[slope])
    else:
        _per_run(plan, op, "prelu", op.axis, [slope], [1])


@lowers(Dice)
def dice(plan: Plan, op: Dice) -> None:
    _per_run(plan, op, "dice", -1, dice_weights(plan, op.alpha, op.mean, op.variance, op.eps))


def dice_weights(
    plan: Plan, alpha: str, mean: str, variance: str, eps: float
) -> list[NDArray[np.float64]]:
    """Scale, shift and alpha (n,) of a Dice."""
    get = plan.model.weights
    return [
        *normaliser(get[mean], get[variance], eps, f"the Dice of {variance!r}"),
        get[alpha].astype(np.float64),
    ]


@lowers(Softmax)
def softmax(plan: Plan, op: Softmax) -> None:
    shape = plan.model.values[op.output].shape
    axis = op.axis % len(shape)
    scope = plan.scope_of(op.output)
    x, out = plan.operand(op.inputs[0], scope), plan.result(op.output)
    n, outer, inner = shape[axis], prod(shape[:axis]), prod(shape[axis + 1 :])
    if inner == 1:
        plan.emit("softmax", scope, [x, out], [n, outer])
        return
    turned = plan.new_buffer(scope, prod(shape), dense=True)
    there = [3, outer, inner, n, n * inner, 1, inner, n * inner, n, 1]
    plan.emit("copy", scope, [x, turned], there)
    plan.emit("softmax", scope, [turned, turned], [n, outer * inner])
    back = [3, outer, inner, n, n * inner, n, 1, n * inner, 1, inner]
    plan.emit("copy", scope, [turned, out], back)


def _per_run(
    plan: Plan,
    op: Op,
    kind: str,
    axis: int,
    per_channel: Sequence[NDArray[Any]],
    ints: Sequence[int] = (),
    floats: Sequence[float] = (),
    weights: Sequence[NDArray[np.float32]] = (),
) -> None:
    """A step over runs that end with `axis`'s inner block; channel weights repeat inside it."""
    shape = plan.model.values[op.output].shape or (1,)
    axis = axis % len(shape)
    inner = prod(shape[axis + 1 :])
    n = shape[axis] * inner
    scope = plan.scope_of(op.output)
    spread = [np.repeat(w, inner) for w in per_channel]
    operands = [plan.operand(op.inputs[0], scope), plan.result(op.output)]
    runs = prod(shape[:axis])
    plan.emit(kind, scope, operands, [n, runs, *ints], floats, [*spread, *weights])
