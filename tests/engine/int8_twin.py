"""The scores of a quantised plan by definition: the model as the planner rewrites it, op by op in
float64, with the products that a plan makes in int8 through their NumPy twin."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recstack.batch import Batch
from recstack.engine import DenseFormat, LayerPlan, LayerPrecision
from recstack.engine.native.build import make_plan
from recstack.engine.native.hoist import ResumedLinear
from recstack.engine.native.lower_dense8 import runs_in_int8
from recstack.engine.native.plan import Plan
from recstack.engine.native.rnn import Rnn
from recstack.engine.native.unit_sum import UnitSum
from recstack.engine.reference import reference
from recstack.engine.reference.arrays import Array
from recstack.engine.reference.dense import activate, affine
from recstack.engine.reference.elementwise import sigmoid
from recstack.engine.reference.executor import Computed
from recstack.engine.reference.int8 import linear_int8
from recstack.engine.reference.sequence import attention_layer
from recstack.model import Model
from recstack.model.ops import Augru, Cross, Gru, GruCell, Linear, Op
from recstack.types import Scores


def quantised_reference(
    model: Model, batch: Batch, precision: DenseFormat | LayerPlan, *, hoist: bool = True
) -> Scores:
    """What an engine of this precision gives, (rows, outputs), but for its fp32 rounding."""
    plan = make_plan(model, precision=precision, hoist=hoist)
    return reference(
        plan.model, batch, {op.output: f for op in plan.model.ops if (f := twin(plan, op))}
    )


def twin(plan: Plan, op: Op) -> Computed | None:
    """What to compute for `op` where its definition is not it."""
    precision = plan.precisions.get(op.output, LayerPrecision())
    if isinstance(op, Linear):
        return lambda inputs: linear(plan, op, precision, inputs)
    if isinstance(op, Cross):
        return lambda inputs: cross(plan, op, precision, inputs)
    if isinstance(op, Gru | Augru | GruCell):
        return lambda inputs: recurrence(plan, op, precision, inputs)
    if isinstance(op, Rnn):
        return lambda inputs: rnn(plan, op, inputs)
    if isinstance(op, UnitSum):
        return lambda inputs: unit_sum(plan, op, inputs)
    return None


def product(
    plan: Plan,
    x: Array,
    weight: str,
    bias: str | None,
    precision: LayerPrecision,
    start: Array | None = None,
) -> Array:
    """start + x @ weight.T + bias in the precision that runs."""
    weights = plan.model.weights
    if not runs_in_int8(precision, *weights[weight].shape):
        y = affine(x, weights, weight, bias)
        return y if start is None else start + y
    rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]), np.float32)
    y = linear_int8(
        rows,
        weights[weight],
        weights[bias] if bias else None,
        precision=precision,
        start=None if start is None else start.astype(np.float32),
    )
    return y.reshape(*x.shape[:-1], len(weights[weight])).astype(np.float64)


def linear(plan: Plan, op: Linear, precision: LayerPrecision, inputs: Sequence[Array]) -> Array:
    start = inputs[1] if isinstance(op, ResumedLinear) else None
    return activate(product(plan, inputs[0], op.weight, op.bias, precision, start), op.activation)


def cross(plan: Plan, op: Cross, precision: LayerPrecision, inputs: Sequence[Array]) -> Array:
    x0, x = inputs
    at = x
    if op.weight_v is not None:
        at, precision = product(plan, x, op.weight_v, None, precision), precision.of_inner()
    return x0 * product(plan, at, op.weight_u, op.bias, precision) + x


def recurrence(
    plan: Plan, op: Gru | Augru | GruCell, precision: LayerPrecision, inputs: Sequence[Array]
) -> Array:
    weights = plan.model.weights
    x = inputs[0]
    from_x = product(plan, x, op.weight_ih, op.bias_ih, precision)
    if isinstance(op, GruCell):
        h = inputs[1]
        from_h = product(plan, h, op.weight_hh, op.bias_hh, precision.of_inner())
        return after(from_x, from_h, h, None)
    attention = isinstance(op, Augru)
    masks = inputs[2 if attention else 1 :]
    h = np.zeros((len(x), weights[op.weight_hh].shape[1]))
    states = []
    for t in range(x.shape[1]):
        score = inputs[1][:, t, None] if attention else None
        from_h = product(plan, h, op.weight_hh, op.bias_hh, precision.of_inner())
        new = after(from_x[:, t], from_h, h, score)
        h = np.where(masks[0][:, t, None] != 0, new, h) if masks else new
        states.append(h)
    return h if op.result == "last" else np.stack(states, axis=1)


def after(from_x: Array, from_h: Array, h: Array, score: Array | None) -> Array:
    """The state after `h`, from what input and state give the gates, (entries, 3 * hidden) each."""
    x, g = np.split(from_x, 3, axis=-1), np.split(from_h, 3, axis=-1)
    update = sigmoid(x[1] + g[1])
    new = np.tanh(x[2] + sigmoid(x[0] + g[0]) * g[2])
    if score is None:
        return (1 - update) * new + update * h
    return (1 - score * update) * h + score * update * new


def rnn(plan: Plan, op: Rnn, inputs: Sequence[Array]) -> Array:
    x, states = inputs[0], []
    hidden = plan.model.weights[op.weight].shape[0]
    h = inputs[1].reshape(len(x), hidden) if len(inputs) > 1 else np.zeros((len(x), hidden))
    for t in range(x.shape[1]):
        joined = np.concatenate([x[:, t], h], axis=1)
        h = np.tanh(affine(joined, plan.model.weights, op.weight, op.bias))
        states.append(h)
    return h if op.result == "last" else np.stack(states, axis=1)


def unit_sum(plan: Plan, op: UnitSum, inputs: Sequence[Array]) -> Array:
    keys, row = inputs
    weights, first = plan.model.weights, op.layers[0]
    y = affine(keys, weights, first.weight, first.bias)
    x = activate(y + affine(row, weights, op.row_weight, None)[:, None, :], first.activation)
    for layer in op.layers[1:]:
        x = attention_layer(layer, x, weights)
    return x.sum(axis=1)
