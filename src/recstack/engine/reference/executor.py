"""A model's scores by definition: each op in turn, in float64, on whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from recstack.batch import Batch, DenseInput
from recstack.engine.precision import DenseFormat, LayerPlan, check_plan, layer_names
from recstack.engine.reference.arrays import Array, Scope, flat, in_float32_range, to_scope
from recstack.engine.reference.bags import FEATURE_OPS, split_bags
from recstack.engine.reference.checks import check_batch
from recstack.engine.reference.formats import LayerWeights
from recstack.engine.reference.registry import OPS, opaque
from recstack.model import Model
from recstack.model.ops import FeatureOp, Opaque
from recstack.types import Scores

# (inputs, each (entries, ...)) -> result, as the functions of OPS with op and weights given.
Computed = Callable[[Sequence[Array]], Array]


def reference(
    model: Model,
    batch: Batch,
    instead: Mapping[str, Computed] | None = None,
    *,
    precision: DenseFormat | LayerPlan = "fp32",
) -> Scores:
    """The scores of `batch`, (rows, outputs) float32, computed in float64 with plain NumPy.

    instead: for the ops of these outputs, what to compute in place of their definition.
    precision: dense layers round their weights and inputs as it says; sums stay float64. int8 is a
        ConfigError: its twin is `recstack.engine.reference.int8`, to be given as `instead`.

    Values are float32 in range: what an op makes beyond it is infinite, here as everywhere.
    A user-scope value has Q entries, an item-scope value R, a const value one. Where an op reads
    several scopes, user values are repeated for each row of their query and const values are
    broadcast; so are outputs. Raises BatchError, IndexOutOfRange or NonFinite (`check_batch`), and
    ConfigError for a precision that does not fit the model (`check_plan`).
    """
    layers, precisions = layer_names(model), check_plan(precision, model)
    check_batch(model, batch)
    bags = split_bags(model, batch)
    values = _dense_values(model, batch)
    entries = {"item": batch.rows, "user": batch.queries, "const": 1}
    with np.errstate(all="ignore"):
        for op in model.ops:
            if isinstance(op, FeatureOp):
                result = FEATURE_OPS[type(op)](op, bags[op.inputs[0]], model)
            else:
                scope = model.values[op.output].scope
                inputs = [_value(model, batch, values, name, scope) for name in op.inputs]
                if isinstance(op, Opaque):
                    result = opaque(op, inputs, model.weights, entries[scope])
                elif instead and op.output in instead:
                    result = instead[op.output](inputs)
                else:
                    weights = model.weights
                    if op.output in layers:
                        weights = LayerWeights(weights, precisions[layers[op.output]])
                    result = OPS[type(op)](op, inputs, weights)
            values[op.output] = in_float32_range(result)
        columns = [flat(_value(model, batch, values, name, "item")) for name in model.outputs]
        return np.concatenate(columns, axis=1).astype(np.float32)


class ReferenceExecutor:
    """`reference` of one model in one precision, as an Executor."""

    def __init__(self, model: Model, precision: DenseFormat | LayerPlan = "fp32") -> None:
        self._model = model
        self._precision = precision

    def run(self, batch: Batch) -> Scores:
        """Scores (rows, outputs) float32; raises as `reference` does."""
        return reference(self._model, batch, precision=self._precision)


def _value(model: Model, batch: Batch, values: dict[str, Array], name: str, scope: Scope) -> Array:
    return to_scope(values[name], model.values[name].scope, scope, batch.query_offsets)


def _dense_values(model: Model, batch: Batch) -> dict[str, Array]:
    """The dense inputs by name, (entries, width): the columns of each in the model's order."""
    values: dict[str, Array] = {}
    columns = {"item": 0, "user": 0}
    for item in model.inputs:
        if isinstance(item, DenseInput):
            source = batch.dense if item.scope == "item" else batch.user_dense
            at = columns[item.scope]
            columns[item.scope] += item.width
            values[item.name] = source[:, at : at + item.width].astype(np.float64)
    return values
