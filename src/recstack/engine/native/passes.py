"""Rewrites of a model that change how it is computed, not what: model in, model out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.unit_sum import fuse_unit_sums
from recstack.model import Model, build
from recstack.model.ops import BatchNorm, Linear, Op, Unary

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Merge = Callable[[Linear, Op], Linear | None]
FUSED_ACTIVATIONS = {"relu", "sigmoid", "tanh"}


def optimise(model: Model) -> Model:
    """`model` with batch norms folded into linears, activations and attention units fused."""
    for rewrite in (fold_batch_norms, fuse_activations, fuse_unit_sums):
        model = rewrite(model)
    return model


def fold_batch_norms(model: Model) -> Model:
    """Fold a batch norm over the last axis into the linear before it (no activation between)."""
    weights = dict(model.weights)

    def fold(linear: Linear, op: Op) -> Linear | None:
        last = len(model.values[linear.output].shape) - 1
        if not isinstance(op, BatchNorm) or op.axis not in (-1, last):
            return None
        scale, shift = batch_norm_affine(model, op)
        w, b = f"{op.output}.folded.weight", f"{op.output}.folded.bias"
        weights[w] = (model.weights[linear.weight] * scale[:, None]).astype(np.float32)
        bias = model.weights[linear.bias] if linear.bias else np.zeros_like(shift)
        weights[b] = (bias * scale + shift).astype(np.float32)
        return linear.model_copy(update={"weight": w, "bias": b, "output": op.output})

    return _merge_into_linears(model, weights, fold)


def fuse_activations(model: Model) -> Model:
    """Let a linear apply the relu, sigmoid or tanh that follows it."""

    def fuse(linear: Linear, op: Op) -> Linear | None:
        if not isinstance(op, Unary) or op.fn not in FUSED_ACTIVATIONS:
            return None
        return linear.model_copy(update={"activation": op.fn, "output": op.output})

    return _merge_into_linears(model, dict(model.weights), fuse)


def batch_norm_affine(model: Model, op: BatchNorm) -> tuple[Floats, Floats]:
    """Scale and shift (channels,), float64, that a batch norm applies at inference."""
    get = model.weights
    variance = get[op.variance].astype(np.float64)
    scale = 1.0 / np.sqrt(variance + op.eps)
    if op.weight is not None:
        scale = scale * get[op.weight]
    shift = -get[op.mean] * scale
    return scale, shift + get[op.bias] if op.bias is not None else shift


def _merge_into_linears(model: Model, weights: dict[str, Array], merge: Merge) -> Model:
    """Replace linear + op by one linear where `merge` allows it and nothing else reads between."""
    uses = Counter(name for op in model.ops for name in op.inputs) + Counter(model.outputs)
    made: dict[str, int] = {}
    ops: list[Op | None] = []
    for op in model.ops:
        at = made.get(op.inputs[0]) if op.inputs else None
        before = ops[at] if at is not None else None
        if (
            at is not None
            and isinstance(before, Linear)
            and before.activation == "none"
            and uses[before.output] == 1
            and (merged := merge(before, op)) is not None
        ):
            ops[at] = None
            op = merged
        made[op.output] = len(ops)
        ops.append(op)
    kept = tuple(op for op in ops if op is not None)
    if len(kept) == len(model.ops):
        return model
    return build(model.description.model_copy(update={"ops": kept}), weights)
