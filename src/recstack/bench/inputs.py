"""Fresh inputs: uniform, power-law, or replayed from a stream of real reuse."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.errors import ConfigError, DataError
from recstack.model import Model
from recstack.model.ops import EmbeddingBag

# Rows read before a batch comes round again: more than any cache of the machines in view.
COLD_BYTES = 128 << 20
MOST_BATCHES = 16384
FEWEST_BATCHES = 8
_CHUNK_VALUES = 1 << 20
_SCRAMBLE = 2_654_435_761  # a prime above any table's rows: multiplying by it permutes them


@dataclass(frozen=True, eq=False)
class Inputs:
    """Batches of one size, one query each, that contenders go round.

    cold_bytes: bytes of table rows and dense columns that one round reads.
    """

    batches: tuple[Batch, ...]
    cold_bytes: int


def make_inputs(model: Model, rows: int, kind: str, seed: int, most: int = MOST_BATCHES) -> Inputs:
    """Enough batches of `rows` rows that they read COLD_BYTES, at most `most`.

    kind: "uniform"; "zipf", exponent 1.05 over permuted rows; or a path to a stream of indices, one
    per line, plain or gzipped, that all features read in order from places of their own.
    Raises ConfigError for an unknown kind, DataError for a file that is no stream.
    """
    each = max(row_bytes(model) * rows, 1)
    count = int(np.clip(-(-COLD_BYTES // each), min(FEWEST_BATCHES, most), most))
    if kind in ("uniform", "zipf"):
        batches = _random(model, rows, kind, seed, count)
    elif Path(kind).is_file():
        batches = _replayed(model, rows, read_stream(Path(kind)), seed, count)
    else:
        raise ConfigError(f"expected uniform, zipf or a file of indices, got {kind!r}")
    return Inputs(tuple(batches), count * each)


def row_bytes(model: Model) -> int:
    """Bytes of table rows and dense columns that one row reads, of fixed or expected lengths."""
    lengths = {feature.name: feature.length for feature in model.sparse}
    bags = [op for op in model.ops if isinstance(op, EmbeddingBag)]
    gathered = sum(model.row_bytes(b.table) * lengths[b.inputs[0]] for b in bags)
    return gathered + 4 * sum(item.width for item in model.dense)


def read_stream(path: Path) -> NDArray[np.int64]:
    """Indices (n,) of a text file with one per line. Raises DataError naming the file."""
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        stream = np.array(text.split(), np.int64)
    except (OSError, EOFError, OverflowError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: expected one index per line: {error}") from None
    if stream.size == 0 or stream.min() < 0:
        raise DataError(f"{path}: expected indices >= 0, got {stream.size} of them")
    return stream


def _random(model: Model, rows: int, kind: str, seed: int, count: int) -> list[Batch]:
    """Random batches, drawn many at once and cut: drawing each alone takes a call per feature."""
    indices: Literal["uniform", "zipf"] = "zipf" if kind == "zipf" else "uniform"
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
    model: Model, rows: int, stream: NDArray[np.int64], seed: int, count: int
) -> list[Batch]:
    """Batches whose indices come from the stream, cyclically.

    Feature f starts at a random place and has its rows permuted in a way of its own, so that
    features share the stream's reuse and not its rows. Larger tables than the stream's are reached
    all over, smaller ones fold. Raises ConfigError for a model with features of the user.
    """
    rng = np.random.default_rng(seed)
    limits = model.index_limits
    places = rng.integers(0, stream.size, len(model.sparse))
    shifts = rng.integers(0, 1 << 31, len(model.sparse))
    if any(f.scope == "user" or f.weighted for f in model.sparse):
        raise ConfigError("expected features of the rows to replay a stream, got some of the user")
    batches: list[Batch] = []
    for chunk in _chunks(model, rows, count):
        parts = []
        for feature, place, shift in zip(model.sparse, places, shifts, strict=True):
            n = rows * feature.length
            at = (place + len(batches) * n + np.arange(chunk * n)) % stream.size
            mixed = (stream[at] * _SCRAMBLE + shift) % limits[feature.name]
            parts.append(mixed.astype(np.int32).reshape(chunk, n))
        width = sum(item.width for item in model.dense)
        dense = rng.standard_normal((chunk, rows, width), dtype=np.float32)
        batches += _batches(model, rows, parts, dense)
    return batches
