"""A model: description, weights, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recstack.batch import DenseInput, Input, SparseInput
from recstack.errors import ModelError
from recstack.model.description import Argument, ModelDescription
from recstack.model.ops import FeatureOp, Op
from recstack.model.ops.base import Shape, check_size, require

Weights = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Value:
    """Shape (without the leading axis) and scope of one value of a model.

    scope const: the same for every entry (a constant, or made from constants alone).
    """

    shape: Shape
    scope: Literal["user", "item", "const"]

    @property
    def elements(self) -> int:
        """Number of float32 per entry."""
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Model:
    """What is computed: inputs, ops in order, outputs and weights. Immutable; never a program.

    weights: name -> float32 array; often memory-mapped and shared, so never written to.
    values: name -> Value, for every dense input and every op's output.
    """

    description: ModelDescription
    weights: Weights
    values: Mapping[str, Value]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.description.name

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, in the order of a batch's packing."""
        return self.description.inputs

    @property
    def ops(self) -> tuple[Op, ...]:
        """The ops, each after those that it reads; every one has a `kind`."""
        return self.description.ops

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the values that make up the scores, side by side."""
        return self.description.outputs

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """For an imported model: how the module's positional tensors map to inputs."""
        return self.description.arguments

    @property
    def sparse(self) -> tuple[SparseInput, ...]:
        """The sparse inputs, in order."""
        return tuple(i for i in self.inputs if isinstance(i, SparseInput))

    @property
    def dense(self) -> tuple[DenseInput, ...]:
        """The dense inputs, in order."""
        return tuple(i for i in self.inputs if isinstance(i, DenseInput))

    @property
    def index_limits(self) -> dict[str, int]:
        """Sparse input -> how many indices are valid: 0 <= index < limit."""
        return {item.name: limit for item, limit in feature_tables(self)}

    @property
    def sequences(self) -> frozenset[str]:
        """Names of the sparse inputs that some op reads position by position."""
        return frozenset(
            op.inputs[0]
            for op in self.ops
            if op.kind == "sequence_mask"
            or (op.kind == "embedding_bag" and getattr(op, "pooling", None) == "none")
        )

    @property
    def output_width(self) -> int:
        """Scores per row."""
        return sum(self.values[name].elements for name in self.outputs)

    def save(self, folder: str | Path) -> None:
        """Write model.json and the weights into `folder`, made if absent; never half-written.

        Raises ModelFileError, naming the file, when the disk refuses.
        """
        from recstack.model.storage import save

        save(self, Path(folder))


def build(description: ModelDescription, weights: Weights) -> Model:
    """A checked model.

    Raises ModelError with the place, such as `ops[3]`, when a name is unknown, used before it is
    made, made twice, or when a shape or a weight does not fit.
    """
    for name, array in weights.items():
        if array.dtype != np.float32:
            raise ModelError(f"expected float32, got {array.dtype}", f"weights[{name!r}]")
    shapes = {name: array.shape for name, array in weights.items()}
    values: dict[str, Value] = {}
    features: dict[str, SparseInput] = {}
    for i, item in enumerate(description.inputs):
        if item.name in values or item.name in features:
            raise ModelError(f"expected a new name, got {item.name!r} again", f"inputs[{i}]")
        if isinstance(item, DenseInput):
            values[item.name] = Value((item.width,), item.scope)
        else:
            features[item.name] = item
    later = {op.output for op in description.ops}
    for i, op in enumerate(description.ops):
        where = f"ops[{i}] ({op.kind} {op.output!r})"
        try:
            _check_names(op, values, features, shapes, later)
            values[op.output] = value = _infer(op, values, features, shapes)
            require(all(n >= 0 for n in value.shape), "sizes >= 0", value.shape)
            check_size(value.shape)
        except ModelError as error:
            raise ModelError(str(error), where) from None
    for i, name in enumerate(description.outputs):
        if name not in values:
            raise ModelError(f"expected the name of a value, got {name!r}", f"outputs[{i}]")
    return Model(description, weights, values)


def _check_names(
    op: Op,
    values: Mapping[str, Value],
    features: Mapping[str, SparseInput],
    shapes: Mapping[str, Shape],
    later: set[str],
) -> None:
    if op.output in values or op.output in features:
        raise ModelError(f"expected a new name for the output, got {op.output!r} again")
    low, high = type(op).arity
    if not low <= len(op.inputs) <= high:
        raise ModelError(f"expected {low} to {high} inputs, got {len(op.inputs)}")
    known: Mapping[str, object] = features if isinstance(op, FeatureOp) else values
    for name in op.inputs:
        if name in known:
            continue
        if name in later:
            raise ModelError(f"expected a value made before it is used, got {name!r} (a cycle?)")
        sort = "sparse input" if isinstance(op, FeatureOp) else "value"
        raise ModelError(f"expected the name of a {sort}, got {name!r}")
    for name in op.weights():
        if name not in shapes:
            raise ModelError(f"expected the name of a weight, got {name!r}")


def _infer(
    op: Op,
    values: Mapping[str, Value],
    features: Mapping[str, SparseInput],
    shapes: Mapping[str, Shape],
) -> Value:
    if isinstance(op, FeatureOp):
        feature = features[op.inputs[0]]
        return Value(op.feature_shape(feature, shapes), feature.scope)
    inputs = [values[name] for name in op.inputs]
    scopes = {v.scope for v in inputs}
    scope: Literal["user", "item", "const"] = (
        "item"
        if "item" in scopes or (op.kind == "opaque" and not scopes - {"const"})
        else "user"
        if "user" in scopes
        else "const"
    )
    return Value(op.shape([v.shape for v in inputs], shapes), scope)


def feature_tables(model: Model) -> Iterator[tuple[SparseInput, int]]:
    """Each sparse input with the number of valid indices: the smallest table that it reads.

    A feature that no table reads has the limit 2**31 - 1.
    """
    limits = {i.name: 2**31 - 1 for i in model.sparse}
    for op in model.ops:
        if isinstance(op, FeatureOp) and op.kind == "embedding_bag":
            rows = model.weights[op.table].shape[0] - op.row_offset  # type: ignore[attr-defined]
            limits[op.inputs[0]] = min(limits[op.inputs[0]], rows)
    for item in model.sparse:
        yield item, limits[item.name]
