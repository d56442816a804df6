"""A model as a list of torch calls over named tensors, made once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recstack.engine.torch_executor import general, layers, recurrent
from recstack.engine.torch_executor.layers import Run
from recstack.engine.torch_executor.lookups import Key
from recstack.engine.torch_executor.weights import Tensors, as_tensor
from recstack.model import Model, ops
from recstack.model.ops import FeatureOp, Shape

# Tensors with one entry per row and per query: what a value is repeated to.
ROWS: Key = ("", "rows")
QUERIES: Key = ("", "queries")

MAKERS: dict[type[ops.Op], Callable[[Any, Tensors, Sequence[Shape]], Run]] = {
    ops.Linear: layers.linear,
    ops.DotInteraction: layers.dot_interaction,
    ops.Cross: layers.cross,
    ops.LayerNorm: layers.layer_norm,
    ops.BatchNorm: layers.batch_norm,
    ops.Prelu: layers.prelu,
    ops.Dice: layers.dice,
    ops.Softmax: layers.softmax,
    ops.AttentionPooling: recurrent.attention_pooling,
    ops.Gru: recurrent.gru,
    ops.Augru: recurrent.augru,
    ops.GruCell: recurrent.gru_cell,
    ops.Constant: general.constant,
    ops.Unary: general.unary,
    ops.Binary: general.binary,
    ops.Clamp: general.clamp,
    ops.Where: general.where,
    ops.Reduce: general.reduce,
    ops.Matmul: general.matmul,
    ops.Concat: general.concat,
    ops.Stack: general.stack,
    ops.Reshape: general.reshape,
    ops.Transpose: general.transpose,
    ops.Slice: general.slice_,
    ops.Index: general.index,
    ops.Expand: general.expand,
}


@dataclass(frozen=True, slots=True)
class Step:
    """values[output] = run(*inputs); `done` names the values that nothing reads afterwards."""

    run: Run
    inputs: tuple[Key, ...]
    output: Key
    done: tuple[Key, ...] = ()


def plan_steps(model: Model, tensors: Tensors) -> tuple[list[Step], dict[Key, Tensor]]:
    """The steps in order, and the values that are the same for every batch, computed here.

    Keys are (value, scope): where a step reads a value of a wider scope, one repetition comes
    before it, shared by all later readers. The last steps repeat the outputs to rows.
    """
    steps: list[Step] = []
    constants: dict[Key, Tensor] = {}
    known: set[Key] = set()

    def read(name: str, scope: str) -> Key:
        own, wanted = (name, model.values[name].scope), (name, scope)
        if own != wanted and wanted not in known:
            known.add(wanted)
            like = ROWS if scope == "item" else QUERIES
            steps.append(Step(repeat, (own, like), wanted))
        return wanted

    prefixes = _prefix_masks(model)
    for op in model.ops:
        if isinstance(op, FeatureOp):
            continue
        scope = model.values[op.output].scope
        keys = tuple(read(name, scope) for name in op.inputs)
        run = _make(model, op, tensors, prefixes)
        if scope == "const":
            constants[op.output, scope] = run(*(constants[key] for key in keys))
        elif not keys:
            steps.append(Step(run, (ROWS,), (op.output, scope)))
        else:
            steps.append(Step(run, keys, (op.output, scope)))
    outputs = {read(name, "item") for name in model.outputs}
    return _with_last_uses(steps, outputs | set(constants)), constants


def repeat(x: Tensor, like: Tensor) -> Tensor:
    """x with one entry per entry of `like`, which names the query of each."""
    if x.shape[0] == 1:
        return x.expand(like.shape[0], *x.shape[1:])
    return x.index_select(0, like)


def _make(model: Model, op: ops.Op, tensors: Tensors, prefixes: set[str]) -> Run:
    if isinstance(op, ops.Opaque):
        return _opaque(op, model)
    shapes = [model.values[name].shape for name in op.inputs]
    if isinstance(op, ops.Gru):
        return recurrent.gru(op, tensors, shapes, prefix_mask=op.inputs[-1] in prefixes)
    return MAKERS[type(op)](op, tensors, shapes)


def _prefix_masks(model: Model) -> set[str]:
    """Names of the values that are ones followed by zeros, whatever the batch."""
    masks = (op for op in model.ops if isinstance(op, ops.SequenceMask))
    return {op.output for op in masks if op.padding_index is None}


def _opaque(op: ops.Opaque, model: Model) -> Run:
    """The imported torch operator; without inputs it is given ROWS to count the entries."""
    from recstack.model.importing.opaque import run_opaque

    def run(*inputs: Tensor) -> Tensor:
        given = [x.cpu().numpy() for x in inputs] if op.inputs else []
        result = np.asarray(run_opaque(op, given, model.weights, inputs[0].shape[0]))
        return as_tensor(result).to(inputs[0].device, torch.float32)

    return run


def _with_last_uses(steps: Sequence[Step], kept: set[Key]) -> list[Step]:
    """The steps with `done` filled in, so that memory is reused while it is in cache."""
    seen = {ROWS, QUERIES, *kept}
    planned = []
    for step in reversed(steps):
        done = tuple(key for key in dict.fromkeys(step.inputs) if key not in seen)
        seen.update(done)
        planned.append(replace(step, done=done))
    return planned[::-1]
