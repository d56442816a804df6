"""An attention unit spelled in tensor ops, recognised: what it gives per position is summed.

    keys (L, d), row (d,): reduce_sum(layers(concat(keys, expand(row), keys + expand(row), ...)))

Keys that are a stack of bags are read where the bags left them, KEYS_AT_ONCE tables at a time
(lower_embedding.py), so that a long tile's sums stay in cache until the unit has read them.

The concatenation's weights fold to (weights for keys) and (weights for row), as in
native/kernels/seq/unit.h, so that neither the copies nor the sums are ever written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.lower_dense8 import MIN_OUTPUTS
from recstack.engine.precision import DenseFormat
from recstack.model import Model, build
from recstack.model.ops import (
    AttentionLayer,
    Binary,
    Concat,
    EmbeddingBag,
    Expand,
    FeatureOp,
    Linear,
    Op,
    Reduce,
    Reshape,
    Stack,
)
from recstack.model.ops.base import Name, Shape, WeightShapes

Terms = dict[str, float]
UNIT_WEIGHTS, UNIT_WIDTH = 8192, 256  # kUnit* of unit.h
UNIT_PADDING = 15  # outputs are padded by no more than this
KEYS_AT_ONCE = 32  # kUnitPositions of unit.h


class UnitSum(Op):
    """Sum over positions (L) of `layers` on keys @ first weight + row @ row_weight + first bias.

    inputs (keys (L, d), row (d,)), or L bags (d,) for keys, then the row. made_of: outputs of the
    linears that it was. Only the native planner makes it; no model on disk has it.
    """

    kind: Literal["unit_sum"] = "unit_sum"
    layers: tuple[AttentionLayer, ...]
    row_weight: Name
    made_of: tuple[Name, ...]
    arity = (2, 1 << 20)

    @property
    def row(self) -> Name:
        """The input that all positions share."""
        return self.inputs[-1]

    def groups(self) -> Iterator[tuple[Name, ...]]:
        """The keys that are read together, in order."""
        for first in range(0, len(self.inputs) - 1, KEYS_AT_ONCE):
            yield self.inputs[first : min(first + KEYS_AT_ONCE, len(self.inputs) - 1)]

    def weights(self) -> tuple[str, ...]:
        """Names of the weights that this op reads."""
        return (self.row_weight, *(w for layer in self.layers for w in layer.weights()))

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        """One number per output of the last layer."""
        return weights[self.layers[-1].weight][:1]


def fits(
    layers: Sequence[AttentionLayer | Linear],
    shapes: Mapping[str, Shape],
    dim: int,
    weights: DenseFormat = "fp32",
) -> bool:
    """Whether the fused unit has room for these layers on keys of `dim`, and their format."""
    widths = [shapes[layer.weight][0] for layer in layers]
    if weights == "int8" and max(widths) < MIN_OUTPUTS:
        weights = "fp32"
    if weights in ("bf16", "int8"):  # columns in pairs, and keys rounded into the room of a layer
        dim += dim % 2
        widths.append(dim)
    return (widths[0] + UNIT_PADDING) * dim <= UNIT_WEIGHTS and max(widths) <= UNIT_WIDTH


def fuse_unit_sums(model: Model, fusable: Callable[..., bool] = lambda *_: True) -> Model:
    """Put a UnitSum in place of every such reduction; what only it read goes.

    fusable: whether the linears of these outputs may become one step.
    """
    uses = Counter(name for op in model.ops for name in op.inputs) + Counter(model.outputs)
    makers = {op.output: op for op in model.ops}
    weights = dict(model.weights)
    ops = [_unit_sum(model, op, makers, uses, weights, fusable) or op for op in model.ops]
    if all(new is old for new, old in zip(ops, model.ops, strict=True)):
        return model
    kept = _without_unused(_bags_unstacked(model, ops), model.outputs)
    return build(model.description.model_copy(update={"ops": kept}), weights)


def _unit_sum(
    model: Model,
    op: Op,
    makers: Mapping[str, Op],
    uses: Mapping[str, int],
    weights: dict[str, NDArray[np.float32]],
    fusable: Callable[..., bool],
) -> UnitSum | None:
    if not isinstance(op, Reduce) or op.fn != "sum" or op.keepdims:
        return None
    layers = _layers(op.inputs[0], makers, uses)
    if not layers or op.axes not in ((0,), (-2,)) or not fusable(*(a.output for a in layers)):
        return None
    joined = makers.get(layers[0].inputs[0])
    if not isinstance(joined, Concat) or uses[joined.output] > 1:
        return None
    shape = model.values[joined.inputs[0]].shape
    same = all(model.values[name].shape == shape for name in joined.inputs)
    if len(shape) != 2 or joined.axis not in (-1, 1) or not same:
        return None
    shapes = {name: w.shape for name, w in model.weights.items()}
    if not fits(layers, shapes, shape[1], "bf16"):
        return None
    parts = [_terms(name, makers, model) for name in joined.inputs]
    bases = {base for part in parts for base in part}
    rows = {base for base in bases if _row(base, makers, model, shape)}
    if len(rows) != 1 or len(bases) != 2:
        return None
    (row,), (keys,) = rows, bases - rows
    weight, d = model.weights[layers[0].weight].astype(np.float64), shape[1]
    names = {}
    for base in (keys, row):
        folded = sum(
            part.get(base, 0.0) * weight[:, i * d : (i + 1) * d] for i, part in enumerate(parts)
        )
        names[base] = f"{op.output}.folded.{base}"
        weights[names[base]] = np.asarray(folded, np.float32)
    of_layers = [
        AttentionLayer(weight=layer.weight, bias=layer.bias, activation=layer.activation)
        for layer in layers
    ]
    of_layers[0] = of_layers[0].model_copy(update={"weight": names[keys]})
    return UnitSum(
        output=op.output,
        inputs=(keys, _row(row, makers, model, shape)),
        layers=tuple(of_layers),
        row_weight=names[row],
        made_of=tuple(layer.output for layer in layers),
    )


def _bags_unstacked(model: Model, ops: Sequence[Op]) -> list[Op]:
    """`ops` with units that read bags themselves where only they read them, in a stack.

    Bags of the user's stay stacked for units of items: all rows of a query read them.
    """
    makers = {op.output: op for op in ops}
    kept = _without_unused(ops, model.outputs)
    uses = Counter(name for op in kept for name in op.inputs) + Counter(model.outputs)
    found: list[Op] = []
    for op in ops:
        stack = makers.get(op.inputs[0]) if isinstance(op, UnitSum) else None
        if isinstance(stack, Stack) and uses[stack.output] == 1 and stack.axis in (0, -2):
            bags = [makers.get(name) for name in stack.inputs]
            scopes = {model.values[name].scope for name in (op.output, *stack.inputs)}
            alone = all(isinstance(b, EmbeddingBag) and uses[b.output] == 1 for b in bags)
            if alone and len(scopes) == 1:
                op = op.model_copy(update={"inputs": (*stack.inputs, *op.inputs[1:])})
        found.append(op)
    return found


def _layers(name: str, makers: Mapping[str, Op], uses: Mapping[str, int]) -> list[Linear]:
    """The linears that end in `name`, first to last, each read by the next alone."""
    layers: list[Linear] = []
    while isinstance(op := makers.get(name), Linear) and uses[name] == 1:
        layers.insert(0, op)
        name = op.inputs[0]
    return layers


def _terms(name: str, makers: Mapping[str, Op], model: Model) -> Terms:
    """`name` as a sum of values of its own shape, each with its factor."""
    op = makers.get(name)
    alike = op is not None and all(
        model.values.get(n) is not None and model.values[n].shape == model.values[name].shape
        for n in op.inputs
    )
    if (
        not alike
        or not isinstance(op, Binary)
        or len(op.inputs) != 2
        or op.fn not in ("add", "sub")
    ):
        return {name: 1.0}
    sign = 1.0 if op.fn == "add" else -1.0
    terms = Counter[str]()
    for factor, part in zip((1.0, sign), op.inputs, strict=True):
        for base, value in _terms(part, makers, model).items():
            terms[base] += factor * value  # type: ignore[assignment]
    return dict(terms)


def _row(name: str, makers: Mapping[str, Op], model: Model, shape: Shape) -> str:
    """The value of shape (d,) that `name` repeats for all positions, or nothing."""
    op = makers.get(name)
    if not isinstance(op, Expand):
        return ""
    source = op.inputs[0]
    if model.values[source].shape == (1, shape[1]) and isinstance(makers.get(source), Reshape):
        source = makers[source].inputs[0]
    return source if model.values[source].shape == shape[1:] else ""


def _without_unused(ops: Sequence[Op], outputs: Sequence[str]) -> tuple[Op, ...]:
    """The ops whose results are read; features stay, as they check their indices."""
    read = set(outputs)
    kept: list[Op] = []
    for op in reversed(ops):
        if op.output in read or isinstance(op, FeatureOp):
            kept.append(op)
            read.update(op.inputs)
    return tuple(reversed(kept))
