"""Data in the format of neural collaborative filtering: ratings to train on, negatives to rank.

    NAME.train.rating      user item rating [time], parted by tabs
    NAME.test.rating       the same, one line per test user
    NAME.test.negative     (user,item) and the candidates that the item is ranked against

    data = load(folder, "lastfm")
    tests, labels, offsets = ranking(data)       # each test item first, then its negatives
    batch = tests.batch(query_offsets=offsets)

Ratings count as implicit ones. Format: He et al., Neural Collaborative Filtering, WWW 2017, its
authors' code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Input, SparseInput
from recstack.data.lines import integer, lines, malformed
from recstack.data.rows import Rows, frozen
from recstack.errors import DataError

Ints = NDArray[np.int64]

SCHEMA: tuple[Input, ...] = (
    SparseInput(name="user", scope="user", fixed=True),
    SparseInput(name="item", fixed=True),
)
_PAIR = re.compile(r"\(([0-9]+),([0-9]+)\)")


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """The files as read-only arrays of indices into tables; index 0 means unknown in training.

    user, item: (ratings,) int64, the training part in file order. test_user, test_item: (tests,)
    int64. negatives: (tests, N) int64. users, items: int64, the files' ids, ascending; the id of
    index i is users[i - 1].
    """

    user: Ints
    item: Ints
    test_user: Ints
    test_item: Ints
    negatives: Ints
    users: Ints
    items: Ints

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each feature looks up."""
        return {"user": len(self.users) + 1, "item": len(self.items) + 1}


def load(folder: str | Path, name: str) -> Ratings:
    """Read NAME.train.rating, .test.rating and .test.negative, each plain or with .gz behind.

    Raises DataError, naming file, line and column, on a malformed line, and where the two test
    files do not speak of the same users and items or their lines differ in length.
    """
    train, test, negative = (
        _path(Path(folder), f"{name}.{part}")
        for part in ("train.rating", "test.rating", "test.negative")
    )
    trained, tested = (np.array(_nonempty(p, list(_pairs(p))), np.int64) for p in (train, test))
    candidates = list(_candidates(negative, tested.tolist()))
    if len(candidates) != len(tested):
        raise DataError(
            f"{negative}:{len(candidates) + 1}: expected {len(tested)} lines, as {test.name} has, "
            f"got {len(candidates)}"
        )
    users, items = (np.unique(trained[:, i]) for i in (0, 1))
    user, item = (_index(ids, trained[:, i]) for i, ids in enumerate((users, items)))
    return Ratings(
        user=frozen(user),
        item=frozen(item),
        test_user=frozen(_index(users, tested[:, 0])),
        test_item=frozen(_index(items, tested[:, 1])),
        negatives=frozen(_index(items, np.array(candidates, np.int64))),
        users=frozen(users),
        items=frozen(items),
    )


def rows(users: Ints, items: Ints) -> Rows:
    """R pairs of a user and an item, (R,) int64 each, as features."""
    one = np.ones(len(users), np.int32)
    empty = np.zeros((len(users), 0), np.float32)
    return Rows(SCHEMA, empty, empty, MappingProxyType({"user": (users, one), "item": (items, one)}))


def ranking(data: Ratings, negatives: int | None = None) -> tuple[Rows, NDArray[np.bool_], NDArray[np.int32]]:
    """The published test: rows, labels (R,) bool, and query offsets (tests + 1,) int32.

    A query is a test user's item, first, and its negatives: all, or the first `negatives` of them.
    """
    items = np.column_stack([data.test_item, data.negatives[:, :negatives]])
    tests, width = items.shape
    labels = np.zeros(items.shape, np.bool_)
    labels[:, 0] = True
    offsets = np.arange(tests + 1, dtype=np.int32) * np.int32(width)
    return rows(np.repeat(data.test_user, width), items.reshape(-1)), labels.reshape(-1), offsets


def _path(folder: Path, name: str) -> Path:
    packed = folder / f"{name}.gz"
    return packed if packed.exists() else folder / name


def _nonempty(path: Path, found: list[tuple[int, int]]) -> list[tuple[int, int]]:
    if not found:
        raise DataError(f"{path}:1: expected ratings, got none")
    return found


def _pairs(path: Path) -> Iterator[tuple[int, int]]:
    for number, text in lines(path):
        fields = text.rstrip("\r\n").split("\t")
        if len(fields) not in (3, 4):
            raise DataError(
                f"{path}:{number}: expected 3 or 4 fields parted by tabs, got {len(fields)}"
            )
        user = integer(fields[0], path, number, "user (column 1)")
        item = integer(fields[1], path, number, "item (column 2)")
        for column, value in enumerate(fields[2:], start=3):
            try:
                float(value)
            except ValueError:
                name = "rating" if column == 3 else "time"
                raise malformed(
                    path, number, f"{name} (column {column})", "a number", value
                ) from None
        yield user, item


def _candidates(path: Path, tests: list[list[int]]) -> Iterator[list[int]]:
    width = 0
    for number, text in lines(path):
        head, *fields = text.rstrip("\r\n").split("\t")
        match = _PAIR.fullmatch(head)
        if match is None:
            raise malformed(path, number, "column 1", "(user,item)", head)
        if number > len(tests) or [int(match[1]), int(match[2])] != tests[number - 1]:
            wanted = f"({','.join(map(str, tests[number - 1]))})" if number <= len(tests) else "end"
            raise malformed(path, number, "column 1", f"{wanted} as in the test file", head)
        found = [integer(f, path, number, f"column {i}") for i, f in enumerate(fields, start=2)]
        width = width or len(found)
        if not found or len(found) != width:
            raise DataError(f"{path}:{number}: expected {width or 1} negatives, got {len(found)}")
        if tests[number - 1][1] in found:
            column = f"column {found.index(tests[number - 1][1]) + 2}"
            raise malformed(path, number, column, "an item other than the test item", head)
        yield found


def _index(ids: Ints, values: Ints) -> Ints:
    """1 + the position of each value in `ids`, 0 where it is not there."""
    at = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    return np.where(ids[at] == values, at + 1, 0)
