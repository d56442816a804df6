"""Building blocks of hand-built test models: a Draft collects a model, `make_batch` fills it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recstack.batch import Batch, entries, pack_lengths
from recstack.model import Model, build, feature_tables, parse_description
from recstack.model.ops import EmbeddingBag, SequenceMask

QUERY_ROWS = (3, 0, 4)
QUERY_ROWS_CASES: tuple[tuple[int, ...], ...] = (
    (),
    (0, 0),
    (1,),
    (1, 1, 1),
    (0, 5, 0, 2, 0),
    (70,),
)


class Draft:
    """Collects inputs, ops and seeded weights; every method returns the name of what it adds."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.inputs: list[dict[str, Any]] = []
        self.ops: list[dict[str, Any]] = []
        self.weights: dict[str, np.ndarray] = {}

    def dense(self, width: int, scope: str = "item") -> str:
        return self._input(kind="dense", width=width, scope=scope)

    def sparse(self, length: int = 1, scope: str = "item", **fields: Any) -> str:
        return self._input(kind="sparse", length=length, scope=scope, **fields)

    def _input(self, **fields: Any) -> str:
        name = f"i{len(self.inputs)}"
        self.inputs.append({"name": name, **fields})
        return name

    def weight(self, *shape: int, low: float = -0.7, high: float = 0.7) -> str:
        name = f"w{len(self.weights)}"
        self.weights[name] = self.random.uniform(low, high, shape).astype(np.float32)
        return name

    def op(self, kind: str, *inputs: str, **fields: Any) -> str:
        name = f"{kind}_{len(self.ops)}"
        self.ops.append({"kind": kind, "output": name, "inputs": list(inputs), **fields})
        return name

    def model(self, *outputs: str) -> Model:
        data = {"format_version": 1, "name": "small", "inputs": self.inputs}
        return build(parse_description({**data, "ops": self.ops, "outputs": outputs}), self.weights)

    def linear(self, x: str, width: int, out: int, activation: str = "none") -> str:
        names = {"weight": self.weight(out, width), "bias": self.weight(out)}
        return self.op("linear", x, activation=activation, **names)

    def bag(self, feature: str, rows: int = 11, dim: int = 4, **fields: Any) -> str:
        return self.op("embedding_bag", feature, table=self.weight(rows, dim), **fields)


def make_batch(
    model: Model,
    query_rows: Sequence[int] = QUERY_ROWS,
    seed: int = 0,
    index_dtype: type[np.integer[Any]] = np.int32,
) -> Batch:
    """A seeded batch with queries of these many rows.

    Ragged bags have 0 to twice `length` indices (0 to `length` where they become sequences), and
    one index in five is 0, so that padding_index=0 is met.
    """
    random = np.random.default_rng(seed)
    offsets = np.concatenate([[0], np.cumsum(query_rows)]).astype(np.int32)
    blank = Batch(*(np.zeros((0, 0), np.float32),) * 2, *(np.zeros(0, np.int32),) * 2, offsets)
    width = {s: sum(i.width for i in model.dense if i.scope == s) for s in ("item", "user")}
    values, lengths = [], []
    for feature, limit in feature_tables(model):
        count = entries(feature.scope, blank)
        longest = feature.length if feature.name in _sequences(model) else 2 * feature.length
        length = random.integers(0, longest + 1, count)
        lengths.append(np.full(count, feature.length) if feature.fixed else length)
        index = random.integers(0, min(limit, 1 << 20), int(lengths[-1].sum()))
        values.append(np.where(random.random(index.size) < 0.2, 0, index))
    packed = np.concatenate([np.zeros(0, int), *values]).astype(index_dtype)
    weighted = any(f.weighted for f in model.sparse)
    return blank.replace(
        dense=random.standard_normal((blank.rows, width["item"]), np.float32),
        user_dense=random.standard_normal((blank.queries, width["user"]), np.float32),
        values=packed,
        lengths=pack_lengths(model.inputs, lengths),
        weights=random.standard_normal(packed.size, np.float32) if weighted else None,
    )


def _sequences(model: Model) -> set[str]:
    return {
        op.inputs[0]
        for op in model.ops
        if isinstance(op, SequenceMask) or (isinstance(op, EmbeddingBag) and op.pooling == "none")
    }
