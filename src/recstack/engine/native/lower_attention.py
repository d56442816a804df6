"""Steps of DIN's attention unit; its first layer is folded as native/kernels/seq/unit.h has it.

In int8 the keys and the query's part are quantised each over its own range, and layers too narrow
for int8 (`runs_in_int8`), as the score's always is, are fp32 inside the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.lower import lowers
from recstack.engine.native.lower_dense import dice_weights, emit_linear
from recstack.engine.native.lower_dense8 import runs_in_int8
from recstack.engine.native.lower_tensor import REDUCE
from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.engine.native.unit_sum import UnitSum, fits
from recstack.engine.precision import FP32, LayerPrecision
from recstack.engine.reference.formats import to_fp16
from recstack.model.ops import AttentionLayer, AttentionPooling
from recstack.model.ops.sequence import FEATURE_ORDER

ACTIVATIONS = ("none", "relu", "sigmoid", "tanh", "prelu", "dice")
UNIT_POSITIONS = 32  # kUnitPositions of unit.h
SCORES, SUM = range(2)  # UnitResult

Array = NDArray[np.float32]
Floats = NDArray[np.float64]


@lowers(AttentionPooling)
def attention_pooling(plan: Plan, op: AttentionPooling) -> None:
    scope = plan.scope_of(op.output)
    keys = plan.operand(op.inputs[1], scope, in_place=True)
    positions, dim = plan.model.values[op.inputs[1]].shape
    masked, softmax = len(op.inputs) > 2, op.normalise == "softmax"
    scores = plan.result(op.output) if op.result == "scores" else None
    at = scores if scores and not masked and not softmax else plan.new_buffer(scope, positions)
    shapes = {name: w.shape for name, w in plan.model.weights.items()}
    if fits(op.layers, shapes, dim, plan.precision.format):
        _unit(plan, op, scope, at)
    else:
        _layer_by_layer(plan, op, scope, at, positions, dim)
    scores = scores or at
    if masked:
        mask = plan.operand(op.inputs[2], scope, in_place=True)
        plan.emit("mask_scores", scope, [at, mask, scores], [positions, softmax])
    elif softmax:
        plan.emit("softmax", scope, [at, scores], [positions, 1])
    if op.result == "pooled":
        operands = [scores, keys, plan.result(op.output)]
        plan.emit("weighted_sum", scope, operands, [positions, dim])


@lowers(UnitSum)
def unit_sum(plan: Plan, op: UnitSum) -> None:
    scope = plan.scope_of(op.output)
    weights, first = plan.model.weights, op.layers[0]
    key, row = weights[first.weight], weights[op.row_weight]
    own = plan.scope_to_project(op.row, scope)
    added = plan.new_buffer(own, key.shape[0])
    bias = weights[first.bias] if first.bias else None
    x = plan.operand(op.row, own)
    precisions = [plan.precisions.get(name, FP32) for name in op.made_of]
    emit_linear(plan, own, x, added, 1, row, bias, precision=precisions[0])
    if own != scope:
        spread = plan.new_buffer(scope, key.shape[0])
        plan.emit("gather_user", scope, [added, spread], [key.shape[0]])
        added = spread
    out = plan.result(op.output)
    layers = list(zip(op.layers, precisions, strict=True))
    groups, n = list(op.groups()), weights[op.layers[-1].weight].shape[0]
    sums = out if len(groups) == 1 else plan.new_buffer(scope, len(groups) * n)
    for i, keys in enumerate(groups):
        if keys[0] in plan.waiting:
            plan.waiting[keys[0]]()
        _emit_unit(plan, scope, x, keys, [added], layers, (key, None), sums.part(i * n), SUM)
    if sums is not out:
        plan.emit("reduce", scope, [sums, out], [REDUCE["sum"], 1, len(groups), n])


def fold_features(
    features: tuple[str, ...], weight: Array, dim: int
) -> tuple[Floats | None, Floats, Floats | None]:
    """What (n, len(features) * dim) weights give the query, the key and their product: (n, dim).

    None where a part is absent; the key's is zeros then.
    """
    part = {f: weight[:, i * dim : (i + 1) * dim] for i, f in enumerate(features)}
    w = {f: x.astype(np.float64) for f, x in part.items()}
    none = np.zeros((weight.shape[0], dim))
    key = w.get("key", none) - w.get("difference", none) + w.get("sum", none)
    of_query = [w[f] for f in ("query", "difference", "sum") if f in w]
    return (sum(of_query, none) if of_query else None), key, w.get("product")


def _unit(plan: Plan, op: AttentionPooling, scope: ScopeName, out: Place) -> None:
    weights = plan.model.weights
    dim = plan.model.values[op.inputs[1]].shape[1]
    first = op.layers[0]
    query, key, product = fold_features(op.features, weights[first.weight], dim)
    q = plan.operand(op.inputs[0], scope)
    bias = weights[first.bias] if first.bias else None
    added: list[Place] = []
    if query is not None:
        added.append(plan.new_buffer(scope, key.shape[0]))
        folded_query = query.astype(np.float32)
        inner = plan.precision.of_inner()
        emit_linear(plan, scope, q, added[0], 1, folded_query, bias, precision=inner)
    elif bias is not None:
        added.append(Place("constant", data=bias))
    folded = (key.astype(np.float32), None if product is None else product.astype(np.float32))
    precisions = [plan.precision] + [plan.precision.of_inner()] * (len(op.layers) - 1)
    layers = list(zip(op.layers, precisions, strict=True))
    _emit_unit(plan, scope, q, op.inputs[1:2], added, layers, folded, out)


def _emit_unit(
    plan: Plan,
    scope: ScopeName,
    query: Place,
    keys: Sequence[str],
    added: list[Place],
    layers: Sequence[tuple[AttentionLayer, LayerPrecision]],
    folded: tuple[Array, Array | None],
    out: Place,
    result: int = SCORES,
) -> None:
    """The step; `folded` are the first layer's weights for keys and for products.

    keys: one value (positions, dim), or one of each position, side by side.
    """
    weights = plan.model.weights
    ints: list[int] = []
    parts: list[Array] = []
    ranges: list[float] = []
    of_keys = FP32
    for i, (layer, precision) in enumerate(layers):
        weight, other = weights[layer.weight], weights[layer.bias] if layer.bias else None
        if i == 0:
            weight, other = folded
        if precision.format == "fp16":  # sums are fp32's: rounding is all there is to it
            weight = to_fp16(weight)
            other = to_fp16(other) if i == 0 and other is not None else other
        int8, given = runs_in_int8(precision, *weight.shape), precision.activations
        of_keys = precision if int8 and i == 0 else of_keys
        ints += [weight.shape[0], ACTIVATIONS.index(layer.activation), other is not None]
        ints.append((1 if given is None else 2) if int8 else 0)
        ranges += [given.low, given.high] if int8 and given else []
        parts += [weight] if other is None else [weight, other]
        parts += _activation_weights(plan, layer, weight.shape[0])
    unit_format = 2 if any(ints[3::4]) else layers[0][1].format == "bf16"
    # Keys that one row alone reads are turned into panels on the way.
    plain = plan.scope_to_project(keys[0], scope) == scope and of_keys == FP32
    source = plan.operand(keys[0], scope) if plain else _key_panels(plan, keys, scope, of_keys)
    head = [*_keys_shape(plan, keys), plain, bool(added), result, unit_format, len(layers)]
    operands = [query, source, *added, out]
    all_ints = [*head, *ints, *of_keys.outliers]
    plan.emit("attention_unit", scope, operands, all_ints, ranges, parts)


def _keys_shape(plan: Plan, keys: Sequence[str]) -> tuple[int, int]:
    """Positions and dim."""
    shape = plan.model.values[keys[0]].shape
    return (shape[0] if len(shape) == 2 else len(keys)), shape[-1]


def _key_panels(
    plan: Plan, keys: Sequence[str], scope: ScopeName, precision: LayerPrecision
) -> Place:
    """The keys with positions side by side, once per query where the history is the user's."""
    positions, dim = _keys_shape(plan, keys)
    own = plan.scope_to_project(keys[0], scope)
    int8, given = precision != FP32, precision.activations
    padded = -(-positions // UNIT_POSITIONS) * UNIT_POSITIONS
    width = dim + (2 + len(precision.outliers) if int8 else 0)  # unit_panels_size of unit.h
    panels = plan.new_buffer(own, padded * width)
    ints = [positions, dim, int8, given is not None, *precision.outliers]
    floats = (given.low, given.high) if given else ()
    plan.emit("key_panels", own, [plan.operand(keys[0], own), panels], ints, floats)
    return panels


def _activation_weights(plan: Plan, layer: AttentionLayer, n: int) -> list[Array]:
    """Slope, and dice's scale and shift, one per output."""
    if layer.activation == "prelu" and layer.slope:
        return [np.broadcast_to(plan.model.weights[layer.slope], (n,))]
    if layer.activation == "dice" and layer.slope and layer.mean and layer.variance:
        parts = dice_weights(plan, layer.slope, layer.mean, layer.variance, layer.eps)
        scale, shift, alpha = (p.astype(np.float32) for p in parts)
        return [alpha, scale, shift]
    return []


def _layer_by_layer(
    plan: Plan, op: AttentionPooling, scope: ScopeName, out: Place, positions: int, dim: int
) -> None:
    """The unit as its definition has it: features, then a layer at a time over all positions."""
    query, keys = (plan.operand(name, scope) for name in op.inputs[:2])
    at = plan.new_buffer(scope, positions * len(op.features) * dim, dense=True)
    bits = sum(1 << FEATURE_ORDER.index(f) for f in op.features)
    plan.emit("attention_features", scope, [query, keys, at], [positions, dim, bits])
    # The range of the keys is none of the features'; what is an outlier in a key is one in each.
    inner = plan.precision.of_inner()
    spread = (f * dim + o for f in range(len(op.features)) for o in plan.precision.outliers)
    precision = replace(inner, outliers=tuple(spread))
    for layer in op.layers:
        to = out if layer is op.layers[-1] else None
        at = _layer(plan, scope, at, positions, layer, to, precision)
        precision = inner


def _layer(
    plan: Plan,
    scope: ScopeName,
    x: Place,
    positions: int,
    layer: AttentionLayer,
    out: Place | None,
    precision: LayerPrecision,
) -> Place:
    """One layer of the attention unit over all positions; returns where its result lies."""
    weights = plan.model.weights
    weight = weights[layer.weight]
    n = weight.shape[0]
    out = out or plan.new_buffer(scope, positions * n, dense=True)
    fused = layer.activation if layer.activation not in ("prelu", "dice") else "none"
    bias = weights[layer.bias] if layer.bias else None
    emit_linear(plan, scope, x, out, positions, weight, bias, fused, precision=precision)
    parts = _activation_weights(plan, layer, n)
    if layer.activation == "prelu":
        plan.emit("prelu", scope, [out, out], [n, positions, 1], weights=parts)
    elif layer.activation == "dice":
        alpha, scale, shift = parts
        plan.emit("dice", scope, [out, out], [n, positions], weights=[scale, shift, alpha])
    return out
