"""Which function defines which op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recstack.engine.reference import dense, elementwise, sequence, tensor
from recstack.engine.reference.arrays import Array
from recstack.model import ops
from recstack.model.model import Weights

# (op, inputs, weights) -> result, every array (entries, ...); feature ops are in FEATURE_OPS of
# bags.py, and Opaque is `opaque` below because it needs the number of entries.
OPS: dict[type[ops.Op], Callable[[Any, Sequence[Array], Weights], Array]] = {
    ops.Linear: dense.linear,
    ops.DotInteraction: dense.dot_interaction,
    ops.Cross: dense.cross,
    ops.LayerNorm: dense.layer_norm,
    ops.BatchNorm: dense.batch_norm,
    ops.Prelu: dense.prelu,
    ops.Dice: dense.dice,
    ops.Softmax: dense.softmax,
    ops.AttentionPooling: sequence.attention_pooling,
    ops.Gru: sequence.gru,
    ops.Augru: sequence.augru,
    ops.GruCell: sequence.gru_cell,
    ops.Constant: tensor.constant,
    ops.Unary: elementwise.unary,
    ops.Binary: elementwise.binary,
    ops.Clamp: elementwise.clamp,
    ops.Where: elementwise.where,
    ops.Reduce: tensor.reduce,
    ops.Matmul: tensor.matmul,
    ops.Concat: tensor.concat,
    ops.Stack: tensor.stack,
    ops.Reshape: tensor.reshape,
    ops.Transpose: tensor.transpose,
    ops.Slice: tensor.slice_,
    ops.Index: tensor.index,
    ops.Expand: tensor.expand,
}


def opaque(op: ops.Opaque, inputs: Sequence[Array], weights: Weights, entries: int) -> Array:
    """A torch operator on float32 copies of the inputs; (entries, *entry_shape)."""
    from recstack.model.importing.opaque import run_opaque

    narrow = [np.ascontiguousarray(x, np.float32) for x in inputs]
    return np.asarray(run_opaque(op, narrow, weights, entries), np.float64)
