"""The scores of a quantised plan by definition: the model as the planner rewrites it, op by op in
float64; int8 products through their NumPy twin, bf16 and fp16 rounding where its kernels round."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.engine import DenseFormat, LayerPlan, LayerPrecision
from recstack.engine.native.build import make_plan
from recstack.engine.native.hoist import ResumedLinear
from recstack.engine.native.lower_attention import fold_features
from recstack.engine.native.lower_dense8 import runs_in_int8
from recstack.engine.native.plan import Plan
from recstack.engine.native.rnn import Rnn
from recstack.engine.native.unit_sum import UnitSum, fits
from recstack.engine.reference import reference
from recstack.engine.reference.arrays import Array
from recstack.engine.reference.dense import activate
from recstack.engine.reference.elementwise import sigmoid
from recstack.engine.reference.executor import Computed
from recstack.engine.reference.formats import multiply as rounding_product
from recstack.engine.reference.formats import to_bf16, to_fp16
from recstack.engine.reference.int8 import folded_int8, linear_int8
from recstack.engine.reference.sequence import (
    attention_activation,
    attention_features,
    attention_result,
)
from recstack.model import Model
from recstack.model.ops import (
    AttentionLayer,
    AttentionPooling,
    Augru,
    Cross,
    Gru,
    GruCell,
    Linear,
    Op,
)
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
        return lambda inputs: rnn(plan, op, precision, inputs)
    if isinstance(op, AttentionPooling):
        return lambda inputs: attention(plan, op, precision, inputs)
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
    return multiply(x, weights[weight], weights[bias] if bias else None, precision, start)


def multiply(
    x: Array,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    precision: LayerPrecision,
    start: Array | None = None,
) -> Array:
    """start + x @ weight.T + bias in the precision that runs."""
    if not runs_in_int8(precision, *weight.shape):
        own = LayerPrecision() if precision.format == "int8" else precision
        y = rounding_product(x, weight.astype(np.float64), own) + (0 if bias is None else bias)
        return y if start is None else start + y
    rows = np.ascontiguousarray(x.reshape(-1, x.shape[-1]), np.float32)
    begin = None if start is None else start.astype(np.float32)
    y = linear_int8(rows, weight, bias, precision=precision, start=begin)
    return y.reshape(*x.shape[:-1], len(weight)).astype(np.float64)


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


def rnn(plan: Plan, op: Rnn, precision: LayerPrecision, inputs: Sequence[Array]) -> Array:
    x, states, weight = inputs[0], [], plan.model.weights[op.weight]
    hidden = weight.shape[0]
    own = LayerPrecision() if precision.format == "int8" else precision  # it has no int8 kernel
    h = inputs[1].reshape(len(x), hidden) if len(inputs) > 1 else np.zeros((len(x), hidden))
    for t in range(x.shape[1]):
        joined = np.concatenate([x[:, t], h], axis=1)
        bias = plan.model.weights[op.bias] if op.bias else None
        h = np.tanh(multiply(joined, weight, bias, own))
        states.append(h)
    return h if op.result == "last" else np.stack(states, axis=1)


def unit_sum(plan: Plan, op: UnitSum, inputs: Sequence[Array]) -> Array:
    row = inputs[-1]
    keys = inputs[0] if inputs[0].ndim == 3 else np.stack(inputs[:-1], axis=1)
    weights, first = plan.model.weights, op.layers[0]
    precisions = [plan.precisions[name] for name in op.made_of]
    bias = weights[first.bias] if first.bias else None
    added = multiply(row, weights[op.row_weight], bias, precisions[0])
    x = folded(row, keys, weights[first.weight], None, added, precisions[0])
    return later_layers(plan, op.layers, precisions, x).sum(axis=1)


def attention(
    plan: Plan, op: AttentionPooling, precision: LayerPrecision, inputs: Sequence[Array]
) -> Array:
    weights, (query, keys), first = plan.model.weights, inputs[:2], op.layers[0]
    dim, inner = keys.shape[-1], precision.of_inner()
    bias = weights[first.bias] if first.bias else None
    if fits(op.layers, plan.model.shapes, dim, precision.format):
        of_query, of_key, of_product = fold_features(op.features, weights[first.weight], dim)
        of_product = None if of_product is None else of_product.astype(np.float32)
        added = np.zeros((len(query), len(of_key))) + (0 if bias is None else bias)
        if of_query is not None:
            added = multiply(query, of_query.astype(np.float32), bias, inner)
        x = folded(query, keys, of_key.astype(np.float32), of_product, added, precision)
    else:
        outliers = (f * dim + o for f in range(len(op.features)) for o in precision.outliers)
        spread = LayerPrecision(precision.format, None, tuple(outliers))
        x = attention_features(op.features, query, keys)
        x = multiply(x, weights[first.weight], bias, spread)
    x = later_layers(plan, op.layers, [precision] + [inner] * (len(op.layers) - 1), x)
    return attention_result(op, x[:, :, 0], inputs)


def folded(
    query: Array,
    keys: Array,
    weight: NDArray[np.float32],
    by_query: NDArray[np.float32] | None,
    added: Array,
    precision: LayerPrecision,
) -> Array:
    """A unit's first layer, its weights folded, before the activation."""
    if runs_in_int8(precision, *weight.shape):
        narrow = (a.astype(np.float32) for a in (query, keys))
        added = added.astype(np.float32)
        return folded_int8(*narrow, weight, by_query, added, precision).astype(np.float64)
    if precision.format == "fp16":
        weight, by_query = to_fp16(weight), None if by_query is None else to_fp16(by_query)
    w = weight.astype(np.float64) + (0 if by_query is None else by_query * query[:, None, :])
    if precision.format == "bf16":
        keys, w = (to_bf16(x).astype(np.float64) for x in (keys, w))
    return np.matmul(keys, w.swapaxes(-1, -2)) + added[:, None, :]


def later_layers(
    plan: Plan,
    layers: Sequence[AttentionLayer],
    precisions: Sequence[LayerPrecision],
    x: Array,
) -> Array:
    """The activation of a unit's first layer, then the others."""
    x = attention_activation(layers[0], x, plan.model.weights)
    for layer, precision in zip(layers[1:], precisions[1:], strict=True):
        x = product(plan, x, layer.weight, layer.bias, precision)
        x = attention_activation(layer, x, plan.model.weights)
    return x
