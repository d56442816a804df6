"""Ops that read sparse features: embedding bags and sequence masks."""

from __future__ import annotations

from math import prod
from typing import ClassVar, Literal

from pydantic import Field

from recstack.batch import SparseInput
from recstack.model.ops.base import Cost, FeatureOp, Name, Shape, WeightShapes, require


class EmbeddingBag(FeatureOp):
    """Rows of `table` (rows, dim) at one bag's indices, pooled.

    pooling: sum, mean, weighted (sum of weight times row) -> (dim,); none -> (length, dim), zeros
        after a shorter bag's end.
    padding_index: lookups of this index count for nothing: left out of sum and mean, zeros in a
        sequence.
    row_offset: added to each index (several features in one table).
    An empty bag gives zeros.
    """

    kind: Literal["embedding_bag"] = "embedding_bag"
    table: Name
    pooling: Literal["sum", "mean", "weighted", "none"] = "sum"
    padding_index: int | None = Field(default=None, ge=0, lt=1 << 63)
    row_offset: int = Field(default=0, ge=0)
    weight_fields: ClassVar[tuple[str, ...]] = ("table",)

    def feature_shape(self, feature: SparseInput, weights: WeightShapes) -> Shape:
        table = weights[self.table]
        require(len(table) == 2, "a table of shape (rows, dim)", table)
        require(self.row_offset < table[0], f"row_offset below {table[0]} rows", self.row_offset)
        if self.pooling == "weighted":
            require(feature.weighted, "a weighted feature", feature.name)
        return (feature.length, table[1]) if self.pooling == "none" else (table[1],)

    def feature_cost(self, feature: SparseInput, output: Shape, weights: WeightShapes) -> Cost:
        dim = weights[self.table][1]
        adds = {"sum": 1, "mean": 1, "weighted": 2, "none": 0}[self.pooling]
        return Cost(
            flops=adds * feature.length * dim,
            lookups=feature.length,
            activation_bytes=4 * prod(output),
        )


class SequenceMask(FeatureOp):
    """1 at the positions of a bag that hold an index (other than `padding_index`), else 0.

    Result (length,).
    """

    kind: Literal["sequence_mask"] = "sequence_mask"
    padding_index: int | None = Field(default=None, ge=0, lt=1 << 63)

    def feature_shape(self, feature: SparseInput, weights: WeightShapes) -> Shape:
        return (feature.length,)
