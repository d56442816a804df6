"""Embedding lookups: as few `embedding_bag` calls as the tables allow.

The bags of features that share a table (or a fused one), a pooling, a scope and a padding index are
read by one call. Padding is taken out of the indices beforehand, because torch's `padding_idx`
leaves its fast path (20 times slower, torch 2.13); single fixed indices become a plain gather.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recstack.batch import Batch, ScopeName, SparseInput, entries
from recstack.engine.torch_executor.weights import Tensors
from recstack.model import Model
from recstack.model.ops import EmbeddingBag

Key = tuple[str, str]
Put = Callable[[NDArray[Any]], Tensor]
# Bags that share what a buffer has room for beyond a batch's lookups: many, so that no thread of a
# GPU reads it all.
SPARE_BAGS = 256


class NoRoom(Exception):
    """A batch has more lookups than its buffer."""


@dataclass(frozen=True, slots=True)
class Packing:
    """Where the bags of each sparse feature lie in one batch.

    ends: (bags + 1,) int64, the prefix sum of all lengths. starts: (features + 1,) first bag of
    each feature. ramps: offsets of bags of one length, made once, by (bags, length).
    """

    batch: Batch
    ends: NDArray[np.int64]
    starts: list[int]
    ramps: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    @staticmethod
    def of(model: Model, batch: Batch) -> Packing:
        """The packing of `batch`, whose sizes fit `model`."""
        ends = np.zeros(batch.lengths.size + 1, np.int64)
        np.cumsum(batch.lengths.reshape(-1), out=ends[1:])
        starts = [0]
        for feature in model.sparse:
            starts.append(starts[-1] + entries(feature.scope, batch))
        return Packing(batch, ends, starts)

    def lookups(self, feature: int) -> slice:
        """The places of a feature's lookups in `values`."""
        return slice(int(self.ends[self.starts[feature]]), int(self.ends[self.starts[feature + 1]]))

    def ramp(self, bags: int, length: int, put: Put) -> Tensor:
        """(bags + 1,) offsets of bags of `length` indices."""
        if (bags, length) not in self.ramps:
            offsets = np.arange(bags + 1) * length
            self.ramps[bags, length] = put(offsets.astype(self.batch.values.dtype))
        return self.ramps[bags, length]


@dataclass(frozen=True, slots=True)
class BagGroup:
    """Pooled features that one call reads.

    features: their positions among the sparse inputs. bases: the row of `table` that index 0 of
    each stands for. length: indices of every bag, where that is fixed and none is padding.
    expected: indices per entry, of all features together. static: staged arrays have the same shape
    for all batches of so many entries; `stage` raises NoRoom where lookups are too many for that.
    """

    table: Tensor
    pooling: str
    scope: ScopeName
    padding: int | None
    length: int | None
    features: tuple[int, ...]
    bases: tuple[int, ...]
    outputs: tuple[Key, ...]
    expected: int
    static: bool = False

    def stage(self, packing: Packing, put: Put) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Indices (nnz,), offsets (bags + 1,) unless `single`, and lookup weights (nnz,)."""
        batch = packing.batch
        parts = [packing.lookups(f) for f in self.features]
        values, weights = _joined(batch.values, parts), None
        counts = [p.stop - p.start for p in parts]
        indices = _rebased(values, self.bases, counts, self.table.shape[0])
        if self.pooling == "weighted":
            assert batch.weights is not None
            weights = _joined(batch.weights, parts)
        if self.single:
            return put(indices), None, None
        if self.length is not None:
            offsets = packing.ramp(indices.size // self.length, self.length, put)
            return put(indices), offsets, None if weights is None else put(weights)
        ends = self._ends(packing)
        if self.padding is not None and not (keep := values != self.padding).all():
            kept = np.zeros(keep.size + 1, np.int64)
            np.cumsum(keep, out=kept[1:])
            indices, ends = indices[keep], kept[ends]
            weights = None if weights is None else weights[keep]
        if self.static:
            indices, weights, ends = self._filled(indices, weights, ends)
        offsets = put(ends.astype(indices.dtype, copy=False))
        return put(indices), offsets, None if weights is None else put(weights)

    @property
    def single(self) -> bool:
        """Whether a plain gather does."""
        return self.length == 1 and self.pooling != "weighted"

    def _ends(self, packing: Packing) -> NDArray[np.int64]:
        """(bags + 1,) where each bag of the group starts in its indices."""
        ends, starts = packing.ends, packing.starts
        if _consecutive(self.features):
            run = ends[starts[self.features[0]] : starts[self.features[-1] + 1] + 1]
            return np.asarray(run - run[0])
        lengths = [np.diff(ends[starts[f] : starts[f + 1] + 1]) for f in self.features]
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))])

    def _filled(
        self, indices: NDArray[Any], weights: NDArray[Any] | None, ends: NDArray[np.int64]
    ) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[np.int64]]:
        """Lookups of row 0 behind the real ones, up to the buffer's size, in bags of their own."""
        expected = self.expected * ((ends.size - 1) // len(self.features))
        room = expected + expected // 8 + 8 * self.expected
        if indices.size > room:
            raise NoRoom
        spare = np.linspace(indices.size, room, SPARE_BAGS + 1).astype(np.int64)[1:]
        added = (0, room - indices.size)
        weights = None if weights is None else np.pad(weights, added)
        return np.pad(indices, added), weights, np.concatenate([ends, spare])

    def run(self, staged: tuple[Tensor, Tensor | None, Tensor | None]) -> Sequence[Tensor]:
        """(entries, dim) per output."""
        indices, offsets, weights = staged
        if self.single:
            pooled = functional.embedding(indices, self.table)
        else:
            pooled = functional.embedding_bag(
                indices,
                self.table,
                offsets,
                mode="mean" if self.pooling == "mean" else "sum",
                per_sample_weights=weights,
                include_last_offset=True,
            )
            if self.static and self.length is None:
                pooled = pooled.narrow(0, 0, pooled.shape[0] - SPARE_BAGS)
        if len(self.outputs) == 1:
            return (pooled,)
        parts: Sequence[Tensor] = pooled.view(len(self.outputs), -1, pooled.shape[1]).unbind(0)
        return parts


def plan_bags(model: Model, tensors: Tensors) -> list[BagGroup]:
    """The calls that compute every pooled embedding of `model`."""
    places = {feature.name: i for i, feature in enumerate(model.sparse)}
    groups: dict[tuple[object, ...], list[tuple[int, int, EmbeddingBag]]] = {}
    for op in model.ops:
        if not isinstance(op, EmbeddingBag) or op.pooling == "none":
            continue
        place = places[op.inputs[0]]
        feature = model.sparse[place]
        table, first = tensors.table(op.table)
        gathered = op.padding_index is None and feature.fixed and feature.length == 1
        key = (id(table), op.pooling, feature.scope, op.padding_index, gathered)
        groups.setdefault(key, []).append((place, first + op.row_offset, op))
    planned = []
    for members in groups.values():
        members.sort(key=lambda member: member[0])
        places_of = tuple(place for place, _, _ in members)
        op = members[0][2]
        planned.append(
            BagGroup(
                table=tensors.table(op.table)[0],
                pooling=op.pooling,
                scope=model.sparse[places_of[0]].scope,
                padding=op.padding_index,
                length=_fixed_length([model.sparse[place] for place in places_of], op),
                features=places_of,
                bases=tuple(base for _, base, _ in members),
                outputs=tuple((op.output, model.sparse[place].scope) for place, _, op in members),
                expected=sum(model.sparse[place].length for place in places_of),
            )
        )
    return planned


def _fixed_length(features: Sequence[SparseInput], op: EmbeddingBag) -> int | None:
    lengths = {feature.length if feature.fixed else None for feature in features}
    return lengths.pop() if len(lengths) == 1 and op.padding_index is None else None


def _consecutive(features: Sequence[int]) -> bool:
    return list(features) == list(range(features[0], features[0] + len(features)))


def _joined(array: NDArray[Any], parts: Sequence[slice]) -> NDArray[Any]:
    """The parts of an array one after the other; a view where they already are."""
    if len(parts) == 1 or all(a.stop == b.start for a, b in pairwise(parts)):
        return array[parts[0].start : parts[-1].stop]
    return np.concatenate([array[p] for p in parts])


def _rebased(
    indices: NDArray[Any], bases: Sequence[int], counts: Sequence[int], rows: int
) -> NDArray[Any]:
    """Indices with the base of their feature added; `counts` lookups per feature."""
    if not any(bases):
        return indices
    dtype = indices.dtype if rows < 1 << 31 else np.dtype(np.int64)
    added = np.repeat(np.array(bases, dtype), counts)
    return np.asarray(indices + added, dtype)
