"""Criteo's display advertising logs: 13 counts, 26 categories, was the ad clicked? Streamed.

    encoder = Vocabulary.fit(["train.tsv.gz"], min_count=2)        # or Hashing(1_000_000)
    for data in batches("test.tsv.gz", encoder):                   # LabelledData, a query per row
        scores = engine.run(data.batch)

A line is label, I1..I13, C1..C26, parted by tabs; an empty field is missing. A count x becomes
log(1 + max(x, 0)), a missing one 0. Format: Criteo Display Advertising Challenge, Kaggle 2014;
logarithm: Naumov et al., DLRM, 2019, its authors' code.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput
from recstack.data.labelled import LabelledData
from recstack.data.lines import lines, malformed
from recstack.errors import ConfigError, DataError

Ints = NDArray[np.int64]

COUNTS = tuple(f"I{i}" for i in range(1, 14))
CATEGORIES = tuple(f"C{i}" for i in range(1, 27))
FIELDS = ("label", *COUNTS, *CATEGORIES)
SCHEMA: tuple[Input, ...] = (
    DenseInput(name="dense", width=len(COUNTS)),
    *(SparseInput(name=name, fixed=True) for name in CATEGORIES),
)
_WANTED = (
    ("0 or 1", re.compile(r"[01]")),
    *(("an integer or nothing", re.compile(r"-?[0-9]{1,18}|")),) * len(COUNTS),
    *(("up to 8 hexadecimal digits or nothing", re.compile(r"[0-9a-fA-F]{0,8}")),)
    * len(CATEGORIES),
)


class Encoder(Protocol):
    """Texts of a category as rows of its table."""

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each category looks up."""

    def index(self, column: int, texts: Sequence[str]) -> Ints:
        """(len(texts),) int64 for CATEGORIES[column]; 0 means unknown."""


class Vocabulary:
    """The texts of training data, most frequent first, from 1; index 0 is every other text.

    A missing field is a text like any other.
    """

    def __init__(self, texts: Sequence[Sequence[str]]) -> None:
        if len(texts) != len(CATEGORIES):
            raise ConfigError(f"expected {len(CATEGORIES)} columns of texts, got {len(texts)}")
        self._index = [{text: i for i, text in enumerate(t, start=1)} for t in texts]

    @classmethod
    def fit(cls, paths: Sequence[str | Path], min_count: int = 1) -> Vocabulary:
        """Of all texts that stand in a column of the files at least `min_count` times."""
        counts: list[Counter[str]] = [Counter() for _ in CATEGORIES]
        for path in paths:
            for chunk in _chunks(path, 8192):
                for counter, texts in zip(counts, chunk.categories, strict=True):
                    counter.update(texts)
        return cls([[t for t, n in c.most_common() if n >= min_count] for c in counts])

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each category looks up."""
        return {name: len(x) + 1 for name, x in zip(CATEGORIES, self._index, strict=True)}

    def index(self, column: int, texts: Sequence[str]) -> Ints:
        """(len(texts),) int64; 0 for texts that training lacks."""
        known = self._index[column]
        return np.array([known.get(text, 0) for text in texts], np.int64)


@dataclass(frozen=True, slots=True)
class Hashing:
    """Texts modulo the table: 1 + value mod (rows - 1); index 0 is a missing field.

    The texts are hashes already, so their remainders are even.
    """

    rows: int

    def __post_init__(self) -> None:
        if self.rows < 2:
            raise ConfigError(f"expected at least 2 rows, got {self.rows}")

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each category looks up."""
        return dict.fromkeys(CATEGORIES, self.rows)

    def index(self, column: int, texts: Sequence[str]) -> Ints:
        """(len(texts),) int64, the same for every column."""
        limit = self.rows - 1
        return np.array([1 + int(t, 16) % limit if t else 0 for t in texts], np.int64)


def batches(path: str | Path, encoder: Encoder, rows: int = 8192) -> Iterator[LabelledData]:
    """The file in order, `rows` rows at a time; inputs are SCHEMA, each row a query of its own.

    Raises DataError, naming file, line and column, on a malformed line.
    """
    for chunk in _chunks(path, rows):
        found = [encoder.index(i, texts) for i, texts in enumerate(chunk.categories)]
        n = len(chunk.labels)
        batch = Batch(
            dense=np.log1p(np.maximum(chunk.counts, 0)).astype(np.float32),
            user_dense=np.zeros((n, 0), np.float32),
            values=np.concatenate(found),
            lengths=np.ones((len(CATEGORIES), n), np.int32),
            query_offsets=np.arange(n + 1, dtype=np.int32),
        )
        yield LabelledData(SCHEMA, batch, chunk.labels[:, None])


@dataclass(frozen=True, slots=True, eq=False)
class _Chunk:
    """labels: (n,) float32. counts: (n, 13) int64, 0 where missing. categories: 26 columns."""

    labels: NDArray[np.float32]
    counts: Ints
    categories: list[tuple[str, ...]]


def _chunks(path: str | Path, rows: int) -> Iterator[_Chunk]:
    if rows < 1:
        raise ConfigError(f"expected rows >= 1, got {rows}")
    source, empty = lines(path), True
    while block := list(islice(source, rows)):
        empty = False
        yield _parse(path, block)
    if empty:
        raise DataError(f"{path}:1: expected rows, got none")


def _parse(path: str | Path, block: Sequence[tuple[int, str]]) -> _Chunk:
    split = [text.rstrip("\r\n").split("\t") for _, text in block]
    for (number, _), fields in zip(block, split, strict=True):
        if len(fields) != len(FIELDS):
            raise DataError(f"{path}:{number}: expected {len(FIELDS)} fields, got {len(fields)}")
    columns = list(zip(*split, strict=True))
    for column, (texts, (wanted, pattern)) in enumerate(zip(columns, _WANTED, strict=True)):
        for text in set(texts):
            if pattern.fullmatch(text) is None:
                number = block[texts.index(text)][0]
                place = f"{FIELDS[column]} (column {column + 1})"
                raise malformed(path, number, place, wanted, text)
    counts = [[int(text or 0) for text in texts] for texts in columns[1:14]]
    return _Chunk(
        labels=np.array([text == "1" for text in columns[0]], np.float32),
        counts=np.array(counts, np.int64).T,
        categories=columns[14:],
    )
