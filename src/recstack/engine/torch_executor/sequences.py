"""Ragged features laid out as sequences: embeddings without pooling, and masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from recstack.batch import SparseInput
from recstack.engine.torch_executor.lookups import Key, Packing, Put
from recstack.engine.torch_executor.weights import Tensors
from recstack.model import Model
from recstack.model.ops import EmbeddingBag, SequenceMask


@dataclass(frozen=True, slots=True)
class Sequence:
    """One feature as (entries, length) indices, with what its ops make of them.

    lookups: (table, output) pairs, the tables starting at the op's row_offset.
    masks: outputs that are the mask itself. static: masked whether a batch needs it or not.
    """

    feature: SparseInput
    place: int
    padding: int | None
    lookups: tuple[tuple[Tensor, Key], ...]
    masks: tuple[Key, ...]
    static: bool = False

    def stage(self, packing: Packing, put: Put) -> tuple[Tensor, Tensor | None]:
        """Indices (entries, length), 0 where nothing is held, and the mask, None if all ones."""
        first, last = packing.starts[self.place : self.place + 2]
        values = packing.batch.values[packing.lookups(self.place)]
        shape = (last - first, self.feature.length)
        if self.feature.fixed:
            indices = values.reshape(shape)
            held = None
        else:
            lengths = packing.batch.lengths.reshape(-1)[first:last]
            held = np.arange(shape[1]) < lengths[:, None]
            indices = np.zeros(shape, values.dtype)
            indices[held] = values
        if self.padding is not None:
            counts = indices != self.padding
            held = counts if held is None else held & counts
        return put(indices), self._mask(held, shape, put)

    def _mask(self, held: NDArray[Any] | None, shape: tuple[int, int], put: Put) -> Tensor | None:
        if held is None and self.masks:
            held = np.ones(shape, np.bool_)
        needed = held is not None and (self.static or bool(self.masks) or not held.all())
        return put(held) if held is not None and needed else None

    def run(self, staged: tuple[Tensor, Tensor | None]) -> list[tuple[Key, Tensor]]:
        """The values that this feature's ops make."""
        indices, held = staged
        made = []
        for table, output in self.lookups:
            rows = functional.embedding(indices, table)
            if held is not None:
                rows.masked_fill_(~held.unsqueeze(-1), 0)
            made.append((output, rows))
        return made + [(output, held.float()) for output in self.masks if held is not None]


def plan_sequences(model: Model, tensors: Tensors) -> list[Sequence]:
    """One Sequence per feature and padding index."""
    places = {feature.name: i for i, feature in enumerate(model.sparse)}
    found: dict[tuple[int, int | None], tuple[list[tuple[Tensor, Key]], list[Key]]] = {}
    for op in model.ops:
        if not isinstance(op, EmbeddingBag | SequenceMask):
            continue
        place = places[op.inputs[0]]
        output = (op.output, model.sparse[place].scope)
        if isinstance(op, SequenceMask):
            found.setdefault((place, op.padding_index), ([], []))[1].append(output)
        elif op.pooling == "none":
            table = tensors(op.table)[op.row_offset :]
            found.setdefault((place, op.padding_index), ([], []))[0].append((table, output))
    return [
        Sequence(model.sparse[place], place, padding, tuple(lookups), tuple(masks))
        for (place, padding), (lookups, masks) in found.items()
    ]
