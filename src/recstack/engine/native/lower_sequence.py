"""Steps of recurrences and attention."""

from __future__ import annotations

import numpy as np

from recstack.engine.native.lower import lowers
from recstack.engine.native.lower_dense import dice_weights, emit_linear
from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.model.ops import AttentionLayer, AttentionPooling, Augru, Gru, GruCell
from recstack.model.ops.sequence import FEATURE_ORDER


@lowers(Gru, Augru)
def recurrence(plan: Plan, op: Gru | Augru) -> None:
    scope = plan.scope_of(op.output)
    weights = plan.model.weights
    positions = plan.model.values[op.inputs[0]].shape[0]
    w_hh = weights[op.weight_hh]
    gates, hidden = w_hh.shape
    xg = _project(plan, op.inputs[0], scope, positions, op.weight_ih, op.bias_ih)
    others = [plan.operand(name, scope) for name in op.inputs[1:]]
    attention = isinstance(op, Augru)
    masked = len(op.inputs) > (2 if attention else 1)
    scratch = [plan.new_buffer(scope, gates), plan.new_buffer(scope, hidden)]
    plan.emit(
        "recurrence",
        scope,
        [xg, *others, *scratch, plan.result(op.output)],
        [positions, hidden, attention, masked, op.result == "sequence"],
        weights=[w_hh, weights[op.bias_hh]] if op.bias_hh else [w_hh],
    )


@lowers(GruCell)
def gru_cell(plan: Plan, op: GruCell) -> None:
    scope = plan.scope_of(op.output)
    x, h = op.inputs
    xg = _project(plan, x, scope, 1, op.weight_ih, op.bias_ih)
    hg = _project(plan, h, scope, 1, op.weight_hh, op.bias_hh)
    hidden = plan.model.weights[op.weight_hh].shape[1]
    operands = [xg, hg, plan.operand(h, scope), plan.result(op.output)]
    plan.emit("gru_gates", scope, operands, [hidden])


def _project(
    plan: Plan, name: str, scope: ScopeName, positions: int, weight: str, bias: str | None
) -> Place:
    """The value's product with `weight`, for an op of `scope`; a user's is made once per query."""
    weights = plan.model.weights
    where = plan.scope_to_project(name, scope)
    elements = positions * weights[weight].shape[0]
    out = plan.new_buffer(where, elements, dense=positions > 1)
    x = plan.operand(name, where)
    emit_linear(plan, where, x, out, positions, weights[weight], weights[bias] if bias else None)
    return out if where == scope else plan.spread(out, elements, dense=positions > 1)


@lowers(AttentionPooling)
def attention_pooling(plan: Plan, op: AttentionPooling) -> None:
    scope = plan.scope_of(op.output)
    query, keys, *mask = (plan.operand(name, scope) for name in op.inputs)
    positions, dim = plan.model.values[op.inputs[1]].shape
    width = len(op.features) * dim
    at = plan.new_buffer(scope, positions * width, dense=True)
    bits = sum(1 << FEATURE_ORDER.index(f) for f in op.features)
    plan.emit("attention_features", scope, [query, keys, at], [positions, dim, bits])
    for layer in op.layers:
        at = _layer(plan, scope, at, positions, layer)
    scores = plan.result(op.output) if op.result == "scores" else at
    if mask:
        normalise = op.normalise == "softmax"
        plan.emit("mask_scores", scope, [at, mask[0], scores], [positions, normalise])
    elif op.normalise == "softmax":
        plan.emit("softmax", scope, [at, scores], [positions, 1])
    elif op.result == "scores":
        plan.emit("copy", scope, [at, scores], [1, positions, 1, 1])
    if op.result == "pooled":
        operands = [scores, keys, plan.result(op.output)]
        plan.emit("weighted_sum", scope, operands, [positions, dim])


def _layer(plan: Plan, scope: ScopeName, x: Place, positions: int, layer: AttentionLayer) -> Place:
    """One layer of the attention unit over all positions; returns where its result lies."""
    weights = plan.model.weights
    weight = weights[layer.weight]
    n = weight.shape[0]
    out = plan.new_buffer(scope, positions * n, dense=True)
    fused = layer.activation if layer.activation not in ("prelu", "dice") else "none"
    bias = weights[layer.bias] if layer.bias else None
    emit_linear(plan, scope, x, out, positions, weight, bias, fused)
    if layer.activation == "prelu" and layer.slope:
        slope = weights[layer.slope]
        plan.emit("prelu", scope, [out, out], [n, positions, slope.size > 1], weights=[slope])
    elif layer.activation == "dice" and layer.slope and layer.mean and layer.variance:
        parts = dice_weights(plan, layer.slope, layer.mean, layer.variance, layer.eps)
        plan.emit(
            "dice",
            scope,
            [out, out],
            [n, positions],
            weights=[np.asarray(p, np.float32) for p in parts],
        )
    return out
