"""What a model's requests may hold, worked out once per model.

Two forms of input, told apart by `form`:

named   one tensor per input, by its name: dense (R, width); fixed sparse (R, n); ragged sparse
        `name` (nnz,) with `name.lengths` (R,), or (R, n) without; weighted also `name.weights`.
packed  `dense`, `user_dense`, `values`, `lengths`, `weights`: the fields of a Batch.

A user-scope input has Q entries in place of R. Both forms take `query_offsets` (Q + 1,); without it
all rows are one query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.batch import DenseInput, Input, ScopeName, SparseInput
from recstack.errors import BatchError
from recstack.serve.protocol.json_text import shown

PACKED = ("dense", "user_dense", "values", "lengths", "query_offsets", "weights")
OFFSETS = "query_offsets"


@dataclass(frozen=True)
class Schema:
    """The inputs of one model, sorted in the ways that decoding asks for.

    names: of all tensors of the named form. clash: one that two inputs would share (a dense input
    called `x.lengths` beside a ragged `x`); such a model takes the packed form only. takes_offsets:
    no input is itself called query_offsets. fixed_lengths: (sparse inputs,), -1 where ragged.
    """

    inputs: tuple[Input, ...]
    sparse: tuple[SparseInput, ...]
    names: frozenset[str]
    item_width: int
    user_width: int
    item_features: int
    user_features: int
    weighted: bool
    takes_offsets: bool
    clash: str
    has_fixed: bool
    fixed_lengths: NDArray[np.int32]

    @cached_property
    def one_scope(self) -> ScopeName | None:
        """The scope of all sparse inputs, None where there are both or none."""
        if not self.sparse or (self.item_features and self.user_features):
            return None
        return "item" if self.item_features else "user"

    def form(self, names: Collection[str], asked: Any) -> str:
        """Whether tensors of these names are `named` or `packed`.

        Packed when every name is a packed one, unless they are exactly the model's own names (a
        model may call an input `values`); the request parameter `form` settles it by hand.
        """
        if asked is not None:
            if asked not in ("named", "packed"):
                got = shown(asked)
                raise BatchError(f"expected 'named' or 'packed', got {got}", "parameters.form")
            return str(asked)
        if not all(name in PACKED for name in names):
            return "named"
        if self.names.isdisjoint(PACKED):
            return "packed"
        return "named" if self.names == {n for n in names if n != OFFSETS} else "packed"


def schema(inputs: Sequence[Input]) -> Schema:
    """The schema of a model with these inputs."""
    dense = [i for i in inputs if isinstance(i, DenseInput)]
    sparse = tuple(i for i in inputs if isinstance(i, SparseInput))
    counts = Counter(name for item in inputs for name in tensor_names(item))
    return Schema(
        inputs=tuple(inputs),
        sparse=sparse,
        names=frozenset(counts),
        item_width=sum(i.width for i in dense if i.scope == "item"),
        user_width=sum(i.width for i in dense if i.scope == "user"),
        item_features=sum(i.scope == "item" for i in sparse),
        user_features=sum(i.scope == "user" for i in sparse),
        weighted=any(i.weighted for i in sparse),
        takes_offsets=OFFSETS not in counts,
        has_fixed=any(i.fixed for i in sparse),
        fixed_lengths=np.array([i.length if i.fixed else -1 for i in sparse], np.int32),
        clash=next((name for name, count in counts.items() if count > 1), ""),
    )


def tensor_names(item: Input) -> list[str]:
    """Names of the tensors that carry one input in the named form."""
    names = [item.name]
    if isinstance(item, SparseInput):
        if not item.fixed:
            names.append(f"{item.name}.lengths")
        if item.weighted:
            names.append(f"{item.name}.weights")
    return names


def tensor_metadata(inputs: Sequence[Input]) -> list[dict[str, Any]]:
    """Name, datatype and shape of every tensor of the named form."""
    tensors = []
    for item in inputs:
        if isinstance(item, DenseInput):
            tensors.append(_entry(item.name, "FP32", [-1, item.width]))
            continue
        shape = [-1, item.length] if item.fixed else [-1]
        tensors.append(_entry(item.name, "INT64", shape))
        if not item.fixed:
            tensors.append(_entry(f"{item.name}.lengths", "INT32", [-1]))
        if item.weighted:
            tensors.append(_entry(f"{item.name}.weights", "FP32", shape))
    return tensors


def packed_metadata(model: Schema) -> list[dict[str, Any]]:
    """Name, datatype and shape of every tensor of the packed form."""
    tensors = []
    if model.item_width:
        tensors.append(_entry("dense", "FP32", [-1, model.item_width]))
    if model.user_width:
        tensors.append(_entry("user_dense", "FP32", [-1, model.user_width]))
    if model.sparse:
        tensors.append(_entry("values", "INT64", [-1]))
        tensors.append(_entry("lengths", "INT32", [-1]))
    if model.weighted:
        tensors.append(_entry("weights", "FP32", [-1]))
    return [*tensors, _entry(OFFSETS, "INT32", [-1])]


def _entry(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}
