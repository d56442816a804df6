"""A model: description, weights, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.batch import DenseInput, Input, SparseInput
from recstack.errors import ModelError
from recstack.model.description import Argument, ModelDescription
from recstack.model.ops import EmbeddingBag, FeatureOp, Op
from recstack.model.ops.base import Shape, check_size, require
from recstack.model.stored import check_readers, stored_shapes
from recstack.rows import RowFormat, dequantise_reference

Weights = Mapping[str, NDArray[Any]]


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

    weights: name -> float32 array; often memory-mapped and shared, so never written to. A table in
        another format (`table_formats`) is the array (rows, format.stored_width(dim)) of its rows.
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

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Weight -> its shape as ops see it: (rows, dim) for a table in any format."""
        return stored_shapes(self.description.tables, self.weights)

    @cached_property
    def table_formats(self) -> Mapping[str, RowFormat]:
        """Table -> the format that its rows are stored in, for every table that bags read."""
        stored = self.description.tables
        tables = dict.fromkeys(op.table for op in self.ops if isinstance(op, EmbeddingBag))
        return {t: stored[t].format if t in stored else RowFormat.FP32 for t in tables}

    def row_bytes(self, table: str) -> int:
        """Bytes of a row of a table, as it is stored."""
        return self.table_formats[table].row_bytes(self.shapes[table][1])

    def table_rows(self, table: str, indices: Any = slice(None)) -> NDArray[np.float64]:
        """The values (n, dim) of rows of a table in any format, as they are defined (slow)."""
        dim = self.shapes[table][1]
        return dequantise_reference(self.weights[table][indices], self.table_formats[table], dim)

    def with_table_formats(self, formats: Mapping[str, RowFormat], *, greedy: bool = True) -> Model:
        """This model with some tables in other formats; all other weights are shared.

        formats: table -> format; tables that it leaves out stay as they are. A table that is not
            float32 is requantised from the values that it stands for.
        greedy: search int4 and int2 ranges that minimise each row's L2 error; else its minimum and
            maximum (`recstack.rows.definition`).

        Raises ModelError naming table and row for a value that is not finite or that the format
        cannot hold, for a name that is no table, and for a table that other ops read too.

        >>> from recstack.model import zoo
        >>> from recstack.rows import RowFormat
        >>> model = zoo.build("rm1", rows_scale=1e-4)
        >>> small = model.with_table_formats({"tables.0": RowFormat.INT4})
        >>> small.weights["tables.0"].nbytes / model.weights["tables.0"].nbytes
        0.15625
        """
        from recstack.model.requantise import requantised

        return requantised(self, formats, greedy=greedy)

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
        return sum(columns for _, columns in self.score_columns)

    @property
    def score_columns(self) -> tuple[tuple[str, int], ...]:
        """What the columns of scores are, from the left: an output's name, and how many it has.

        >>> from recstack.model import zoo
        >>> zoo.outline("din").score_columns
        (('score', 2),)
        """
        return tuple((name, self.values[name].elements) for name in self.outputs)

    def save(
        self,
        folder: str | Path,
        *,
        table_formats: Mapping[str, RowFormat] | None = None,
        greedy: bool = True,
    ) -> None:
        """Write model.json and the weights into `folder`, made if absent; never half-written.

        table_formats, greedy: write these tables in other formats, as `with_table_formats` would
            make them, a piece at a time: the new tables are never in memory as a whole.

        Raises ModelFileError, naming the file, when the disk refuses, and as `with_table_formats`.
        """
        from recstack.model.storage import save

        save(self, Path(folder), table_formats or {}, greedy=greedy)


def build(description: ModelDescription, weights: Weights) -> Model:
    """A checked model.

    Raises ModelError with the place, such as `ops[3]`, when a name is unknown, used before it is
    made, made twice, or when a shape or a weight does not fit.
    """
    shapes = stored_shapes(description.tables, weights)
    check_readers(description)
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
            rows = model.shapes[op.table][0] - op.row_offset  # type: ignore[attr-defined]
            limits[op.inputs[0]] = min(limits[op.inputs[0]], rows)
    for item in model.sparse:
        yield item, limits[item.name]
