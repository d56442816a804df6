"""Rewrites of a model that change how it is computed, not what: model in, model out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.unit_sum import fuse_unit_sums
from recstack.engine.native.unrolled import fuse_rnns
from recstack.errors import ModelError
from recstack.model import Model, build
from recstack.model.ops import BatchNorm, Linear, Op, Unary

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Merge = Callable[[Linear, Op], Linear | None]
FUSED_ACTIVATIONS = {"relu", "sigmoid", "tanh"}


def optimise(model: Model, fusable: Callable[..., bool] = lambda *_: True) -> Model:
    """`model` with batch norms folded into linears; activations, attention units and RNNs fused.

    fusable: whether the linears of these outputs may become one step.
    """
    model = fuse_activations(fold_batch_norms(model))
    return fuse_rnns(fuse_unit_sums(model, fusable))


def fold_batch_norms(model: Model) -> Model:
    """Fold a batch norm over the last axis into the linear before it (no activation between)."""
    weights = dict(model.weights)

    def fold(linear: Linear, op: Op) -> Linear | None:
        last = len(model.values[linear.output].shape) - 1
        if not isinstance(op, BatchNorm) or op.axis not in (-1, last):
            return None
        scale, shift = batch_norm_affine(model, op)
        w, b = f"{op.output}.folded.weight", f"{op.output}.folded.bias"
        bias = model.weights[linear.bias] if linear.bias else np.zeros_like(shift)
        weight = (model.weights[linear.weight] * scale[:, None]).astype(np.float32)
        bias = (bias * scale + shift).astype(np.float32)
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            return None  # apart, the two may still be finite where their product is not
        weights[w], weights[b] = weight, bias
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
    """Scale and shift (channels,), float64, that a batch norm applies at inference.

    Raises ModelError as `normaliser` does.
    """
    weight = None if op.weight is None else model.weights[op.weight]
    bias = None if op.bias is None else model.weights[op.bias]
    scale, shift = normaliser(
        model.weights[op.mean], model.weights[op.variance], op.eps, op.output, weight
    )
    return scale, shift if bias is None else shift + bias


def normaliser(
    mean: Array, variance: Array, eps: float, where: str, weight: Array | None = None
) -> tuple[Floats, Floats]:
    """Scale and shift (channels,), float64: (x - mean) / sqrt(variance + eps) [* weight] in one.

    Raises ModelError naming the channel where variance + eps is not above 0 or a number is beyond
    float32: x * scale + shift would then be NaN where the definition is infinite.
    """
    scale = 1.0 / np.sqrt(variance.astype(np.float64) + eps)
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    narrow = np.isfinite(scale.astype(np.float32)) & np.isfinite(shift.astype(np.float32))
    if not narrow.all():
        c = int(np.argmin(narrow))
        raise ModelError(
            "expected variance + eps > 0 and a scale and shift that float32 holds, got variance "
            f"{variance[c]:g}, eps {eps:g}, scale {scale[c]:g}, shift {shift[c]:g}",
            f"{where}, channel {c}",
        )
    return scale, shift


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
