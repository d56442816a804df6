"""Fresh inputs: uniform, power-law, or replayed from a stream of real reuse."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data import merge, random_batch, slice_rows
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
    gathered: int = sum(4 * model.weights[b.table].shape[1] * lengths[b.inputs[0]] for b in bags)
    return gathered + 4 * sum(item.width for item in model.dense)


def read_stream(path: Path) -> NDArray[np.int64]:
    """Indices (n,) of a text file with one per line. Raises DataError naming the file."""
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        stream = np.array(text.split(), np.int64)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: expected one index per line: {error}") from None
    if stream.size == 0 or stream.min() < 0:
        raise DataError(f"{path}: expected indices >= 0, got {stream.size} of them")
    return stream


def _random(model: Model, rows: int, kind: str, seed: int, count: int) -> list[Batch]:
    """Random batches, drawn many at once and cut: drawing each alone takes a call per feature."""
    per_row = sum(feature.length for feature in model.sparse)
    chunk = max(1, min(count, _CHUNK_VALUES // max(per_row * rows, 1)))
    batches: list[Batch] = []
    while len(batches) < count:
        many = random_batch(
            model,
            rows * chunk,
            seed + len(batches),
            indices="zipf" if kind == "zipf" else "uniform",
        )
        batches += _cut(model, many, rows, chunk)
    return batches[:count]


def _cut(model: Model, many: Batch, rows: int, chunk: int) -> list[Batch]:
    """`chunk` batches of `rows` rows of one large batch, contiguous and apart from it."""
    if chunk == 1:
        return [many]
    return [
        merge([slice_rows(many, model.inputs, i * rows, (i + 1) * rows)], model.inputs)
        for i in range(chunk)
    ]


def _replayed(
    model: Model, rows: int, stream: NDArray[np.int64], seed: int, count: int
) -> list[Batch]:
    """Batches whose indices come from the stream, cyclically.

    Feature f starts at a random place and has its rows permuted in a way of its own, so that
    features share the stream's reuse and not its rows. Larger tables than the stream's are reached
    all over, smaller ones fold.
    """
    rng = np.random.default_rng(seed)
    places = rng.integers(0, stream.size, len(model.sparse))
    shifts = rng.integers(0, 1 << 31, len(model.sparse))
    limits = list(model.index_limits.values())
    plain = random_batch(model, rows, seed)
    batches = []
    for number in range(count):
        values: list[NDArray[np.int32]] = []
        for f, feature in enumerate(model.sparse):
            entries = rows if feature.scope == "item" else 1
            n = entries * feature.length
            at = (places[f] + number * n + np.arange(n)) % stream.size
            mixed = (stream[at] * _SCRAMBLE + shifts[f]) % limits[f]
            values.append(mixed.astype(np.int32))
        dense = rng.standard_normal(plain.dense.shape, dtype=np.float32)
        batches.append(plain.replace(values=_together(values), dense=dense))
    return batches


def _together(values: Sequence[NDArray[np.int32]]) -> NDArray[np.int32]:
    return np.concatenate(values) if values else np.zeros(0, np.int32)
