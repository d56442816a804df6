"""Ops that read a sparse feature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, SparseInput, feature_lengths
from recstack.engine.reference.arrays import Array
from recstack.model import Model
from recstack.model.ops import EmbeddingBag, FeatureOp, SequenceMask


@dataclass(frozen=True, slots=True)
class Bags:
    """The bags of one sparse feature: entry e holds the next lengths[e] of `values`.

    values: (nnz,) int32 or int64. lengths: (entries,) int32. weights: (nnz,) float32, or None
    when the feature is not weighted.
    """

    feature: SparseInput
    values: NDArray[Any]
    lengths: NDArray[np.int32]
    weights: NDArray[np.float32] | None

    @property
    def owners(self) -> NDArray[np.int64]:
        """(nnz,) the entry that each lookup belongs to."""
        return np.repeat(np.arange(self.lengths.size), self.lengths)

    @property
    def positions(self) -> NDArray[np.int64]:
        """(nnz,) the place of each lookup in its bag."""
        starts = np.cumsum(self.lengths, dtype=np.int64) - self.lengths
        return np.arange(self.values.size) - np.repeat(starts, self.lengths)


def split_bags(model: Model, batch: Batch) -> dict[str, Bags]:
    """The bags of each sparse input of a checked batch, by name, in the model's order."""
    bags, at = {}, 0
    for item, lengths in zip(model.sparse, feature_lengths(model.inputs, batch), strict=True):
        part = slice(at, at + int(lengths.sum(dtype=np.int64)))
        weighted = item.weighted and batch.weights is not None
        weights = batch.weights[part] if weighted and batch.weights is not None else None
        bags[item.name] = Bags(item, batch.values[part], lengths, weights)
        at = part.stop
    return bags


def embedding_bag(op: EmbeddingBag, bags: Bags, model: Model) -> Array:
    """(entries, dim) pooled rows of the table, or (entries, length, dim) without pooling."""
    keep = bags.values != (-1 if op.padding_index is None else op.padding_index)
    owners = bags.owners[keep]
    rows = model.table_rows(op.table, bags.values[keep].astype(np.int64) + op.row_offset)
    entries, dim = bags.lengths.size, rows.shape[1]
    if op.pooling == "none":
        sequence = np.zeros((entries, bags.feature.length, dim))
        sequence[owners, bags.positions[keep]] = rows
        return sequence
    if op.pooling == "weighted":
        assert bags.weights is not None
        rows *= bags.weights[keep, None]
    pooled = np.zeros((entries, dim))
    np.add.at(pooled, owners, rows)
    if op.pooling == "mean":
        pooled /= np.maximum(np.bincount(owners, minlength=entries), 1)[:, None]
    return pooled


def sequence_mask(op: SequenceMask, bags: Bags, model: Model) -> Array:
    """(entries, length) of 1 where a bag holds an index other than the padding, else 0."""
    keep = bags.values != (-1 if op.padding_index is None else op.padding_index)
    mask = np.zeros((bags.lengths.size, bags.feature.length))
    mask[bags.owners[keep], bags.positions[keep]] = 1
    return mask


FEATURE_OPS: dict[type[FeatureOp], Callable[[Any, Bags, Model], Array]] = {
    EmbeddingBag: embedding_bag,
    SequenceMask: sequence_mask,
}
