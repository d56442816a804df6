"""Fresh inputs: uniform, power-law, or with the reuse of a recorded stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data import random_batch, streams
from recstack.data.streams import Stream
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.model.ops import EmbeddingBag

# Rows read before a batch comes round again: more than any cache of the machines in view.
COLD_BYTES = 128 << 20
MOST_BATCHES = 16384
FEWEST_BATCHES = 8
_CHUNK_VALUES = 1 << 20


@dataclass(frozen=True, eq=False)
class Inputs:
    """Batches of one size, one query each, that contenders go round.

    cold_bytes: bytes of table rows and dense columns that one round reads.
    """

    batches: tuple[Batch, ...]
    cold_bytes: int


def make_inputs(model: Model, rows: int, kind: str, seed: int, most: int = MOST_BATCHES) -> Inputs:
    """Enough batches of `rows` rows that they read COLD_BYTES, at most `most`.

    kind: a form of `recstack.data.streams`, or the path alone of a stream of indices, one per line,
    plain or gzipped. All features read a recorded stream, or one with its reuse, in order from
    places of their own, through all batches.
    Raises ConfigError for an unknown kind, DataError for a file that is no stream.
    """
    each = max(row_bytes(model) * rows, 1)
    count = int(np.clip(-(-COLD_BYTES // each), min(FEWEST_BATCHES, most), most))
    stream = streams.parse(f"file:{kind}" if Path(kind).is_file() else kind)
    if isinstance(stream, streams.Reuse):
        stream = stream.recorded(np.random.default_rng(seed))
    if isinstance(stream, streams.Recorded):
        batches = _replayed(model, rows, stream, seed, count)
    else:
        batches = _random(model, rows, stream, seed, count)
    return Inputs(tuple(batches), count * each)


def row_bytes(model: Model) -> int:
    """Bytes of table rows and dense columns that one row reads, of fixed or expected lengths."""
    lengths = {feature.name: feature.length for feature in model.sparse}
    bags = [op for op in model.ops if isinstance(op, EmbeddingBag)]
    gathered = sum(model.row_bytes(b.table) * lengths[b.inputs[0]] for b in bags)
    return gathered + 4 * sum(item.width for item in model.dense)


def _random(model: Model, rows: int, stream: Stream, seed: int, count: int) -> list[Batch]:
    """Random batches, drawn many at once and cut: drawing each alone takes a call per feature."""
    indices: Literal["uniform"] | Stream = "uniform" if stream == streams.Uniform() else stream
    batches: list[Batch] = []
    for chunk in _chunks(model, rows, count):
        many = random_batch(model, rows * chunk, seed + len(batches), indices=indices)
        if chunk == 1:
            batches.append(many)
            continue
        ends = np.cumsum([0, *(rows * chunk * feature.length for feature in model.sparse)])
        parts = [many.values[a:b].reshape(chunk, -1) for a, b in pairwise(ends)]
        batches += _batches(model, rows, parts, many.dense.reshape(chunk, rows, -1))
    return batches


def _chunks(model: Model, rows: int, count: int) -> list[int]:
    """`count` batches as chunks that are made at once; alone where features are not of the rows."""
    plain = all(f.scope == "item" and not f.weighted for f in model.sparse)
    if not plain or any(item.scope == "user" for item in model.dense):
        return [1] * count
    per_row = sum(f.length for f in model.sparse) + sum(item.width for item in model.dense)
    most = max(1, _CHUNK_VALUES // max(per_row * rows, 1))
    return [most] * (count // most) + [count % most] * (count % most > 0)


def _batches(
    model: Model, rows: int, parts: Sequence[NDArray[Any]], dense: NDArray[np.float32]
) -> list[Batch]:
    """Batches of each feature's values (chunk, rows * length), dense (chunk, rows, width)."""
    values = np.concatenate(parts, axis=1) if parts else np.zeros((len(dense), 0), np.int32)
    like = random_batch(model, rows)
    return [like.replace(values=v, dense=d) for v, d in zip(values, dense, strict=True)]


def _replayed(
    model: Model, rows: int, stream: streams.Recorded, seed: int, count: int
) -> list[Batch]:
    """Batches whose indices come from the stream, each feature's from a place of its own.

    Raises ConfigError for a model with features of the user.
    """
    rng = np.random.default_rng(seed)
    if any(f.scope == "user" or f.weighted for f in model.sparse):
        raise ConfigError("expected features of the rows to replay a stream, got some of the user")
    limits = model.index_limits
    parts = []
    for feature in model.sparse:
        values = stream.draw(limits[feature.name], count * rows * feature.length, rng)
        parts.append(values.astype(np.int32).reshape(count, -1))
    width = sum(item.width for item in model.dense)
    return _batches(model, rows, parts, rng.standard_normal((count, rows, width), dtype=np.float32))
