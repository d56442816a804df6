"""Random batches that fit a model."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from recstack.batch import Batch, DenseInput, Input, ScopeName, SparseInput, pack_lengths
from recstack.data.streams import Stream, Zipf
from recstack.errors import ConfigError


class Sampled(Protocol):
    """What of a model its batches depend on; `recstack.model.Model` has it."""

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The inputs, in the order of a batch's packing."""

    @property
    def index_limits(self) -> dict[str, int]:
        """Sparse input -> how many indices are valid."""

    @property
    def sequences(self) -> frozenset[str]:
        """Names of the sparse inputs whose bags may not be longer than `length`."""


def random_batch(
    model: Sampled,
    rows: int = 64,
    seed: int = 0,
    queries: int = 1,
    index_dtype: DTypeLike = np.int32,
    lengths: Literal["fixed", "ragged"] = "fixed",
    indices: Literal["uniform", "zipf"] | Stream = "uniform",
) -> Batch:
    """A batch of `queries` queries with `rows` rows in all, shared out as evenly as can be.

    index_dtype: int32 or int64.
    lengths: "fixed" gives every bag the feature's `length` indices; "ragged" 0 to twice as many, in
        a sequence 0 to `length`, and `length` where the feature is fixed.
    indices: "uniform" over the table, "zipf" (exponent 1.05, the popular rows spread over the
        table), or a stream that each feature draws from (`recstack.data.streams`).

    Dense inputs are standard normal, lookup weights uniform on [0, 1). The same seed gives the same
    batch. Raises ConfigError for a wrong argument.

    >>> from recstack.model import zoo
    >>> batch = random_batch(zoo.outline("rm1"), rows=4)
    >>> batch.dense.shape, batch.lengths.shape, batch.values.shape
    ((4, 128), (8, 4), (2560,))
    """
    dtype = np.dtype(index_dtype)
    _check(rows, queries, dtype, lengths, indices)
    rng = np.random.default_rng(seed)
    entries: dict[ScopeName, int] = {"item": rows, "user": queries}
    sparse = [item for item in model.inputs if isinstance(item, SparseInput)]
    limits, sequences = model.index_limits, model.sequences
    per_feature, values = [], []
    for feature in sparse:
        ragged = lengths == "ragged" and not feature.fixed
        n = _lengths(rng, feature, entries[feature.scope], ragged, feature.name in sequences)
        per_feature.append(n)
        values.append(
            _indices(rng, limits[feature.name], int(n.sum(dtype=np.int64)), dtype, indices)
        )
    packed: NDArray[Any] = np.concatenate(values) if values else np.zeros(0, dtype)
    weighted = any(feature.weighted for feature in sparse)
    return Batch(
        dense=_dense(rng, model.inputs, "item", rows),
        user_dense=_dense(rng, model.inputs, "user", queries),
        values=packed,
        lengths=pack_lengths(model.inputs, per_feature),
        query_offsets=(np.arange(queries + 1) * rows // max(queries, 1)).astype(np.int32),
        weights=rng.random(packed.size, dtype=np.float32) if weighted else None,
    )


def _check(
    rows: int, queries: int, dtype: np.dtype[Any], lengths: str, indices: str | Stream
) -> None:
    if rows < 0 or queries < 0 or (rows and not queries):
        raise ConfigError(f"expected rows >= 0 in at least one query, got {rows} in {queries}")
    if dtype not in (np.dtype(np.int32), np.dtype(np.int64)):
        raise ConfigError(f"expected index_dtype int32 or int64, got {dtype}")
    if lengths not in ("fixed", "ragged"):
        raise ConfigError(f"expected lengths 'fixed' or 'ragged', got {lengths!r}")
    if isinstance(indices, str) and indices not in ("uniform", "zipf"):
        raise ConfigError(f"expected indices 'uniform' or 'zipf', got {indices!r}")


def _dense(
    rng: np.random.Generator, inputs: tuple[Input, ...], scope: ScopeName, entries: int
) -> NDArray[np.float32]:
    width = sum(i.width for i in inputs if isinstance(i, DenseInput) and i.scope == scope)
    return rng.standard_normal((entries, width), dtype=np.float32)


def _lengths(
    rng: np.random.Generator, feature: SparseInput, entries: int, ragged: bool, sequence: bool
) -> NDArray[np.int32]:
    if not ragged:
        return np.full(entries, feature.length, np.int32)
    most = feature.length if sequence else 2 * feature.length
    return rng.integers(0, most, size=entries, dtype=np.int32, endpoint=True)


def _indices(
    rng: np.random.Generator, limit: int, count: int, dtype: np.dtype[Any], how: str | Stream
) -> NDArray[Any]:
    if how == "uniform":
        drawn: NDArray[Any] = rng.integers(0, limit, size=count, dtype=dtype.type)
        return drawn
    stream = Zipf() if isinstance(how, str) else how
    return stream.draw(limit, count, rng).astype(dtype)
