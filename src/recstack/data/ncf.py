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
from recstack.data.rows import Bags, Rows, frozen
from recstack.data.slices import ranges
from recstack.errors import DataError

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

SCHEMA: tuple[Input, ...] = (
    SparseInput(name="user", scope="user", fixed=True),
    SparseInput(name="item", fixed=True),
)
_PAIR = re.compile(r"\(([0-9]{1,10}),([0-9]{1,10})\)")


@dataclass(frozen=True, slots=True, eq=False)
class Ratings:
    """The files as read-only arrays of indices into tables; index 0 means unknown in training.

    user, item: (ratings,) int64, the training part in file order. test_user, test_item: (tests,)
    int64. negatives: per test, (values, lengths). users, items: int64, the files' ids, ascending;
    the id of index i is users[i - 1].
    """

    user: Ints
    item: Ints
    test_user: Ints
    test_item: Ints
    negatives: Bags
    users: Ints
    items: Ints

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each feature looks up."""
        return {"user": len(self.users) + 1, "item": len(self.items) + 1}


def load(folder: str | Path, name: str) -> Ratings:
    """Read NAME.train.rating, .test.rating and .test.negative, each plain or with .gz behind.

    A candidate that is the test item, as some published lines have, is left out. Raises DataError,
    naming file, line and column, on a malformed line, and where the two test files do not speak of
    the same users and items or candidates repeat.
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
        negatives=(
            frozen(_index(items, np.concatenate(candidates))),
            frozen(np.array([len(found) for found in candidates], np.int32)),
        ),
        users=frozen(users),
        items=frozen(items),
    )


def rows(users: Ints, items: Ints) -> Rows:
    """R pairs of a user and an item, (R,) int64 each, as features."""
    one = np.ones(len(users), np.int32)
    empty = np.zeros((len(users), 0), np.float32)
    return Rows(
        SCHEMA, empty, empty, MappingProxyType({"user": (users, one), "item": (items, one)})
    )


def ranking(data: Ratings, limit: int | None = None) -> tuple[Rows, Bools, NDArray[np.int32]]:
    """The published test: rows, labels (R,) bool, and query offsets (tests + 1,) int32.

    A query is a test user's item, first, and its negatives: all, or the first `limit` of them.
    """
    values, lengths = data.negatives
    sizes = lengths.astype(np.int64)
    taken = sizes if limit is None else np.minimum(sizes, limit)
    offsets = np.concatenate([[0], np.cumsum(taken + 1)])
    labels = np.zeros(int(offsets[-1]), np.bool_)
    labels[offsets[:-1]] = True
    items = np.empty(len(labels), np.int64)
    items[labels] = data.test_item
    items[~labels] = values[ranges(np.cumsum(sizes) - sizes, taken)]
    return rows(np.repeat(data.test_user, taken + 1), items), labels, offsets.astype(np.int32)


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
    """Each test's negatives, without the test item."""
    for number, text in lines(path):
        head, *fields = text.rstrip("\r\n").split("\t")
        match = _PAIR.fullmatch(head)
        if match is None:
            raise malformed(path, number, "column 1", "(user,item)", head)
        wanted = tests[number - 1] if number <= len(tests) else None
        if wanted is None or [int(match[1]), int(match[2])] != wanted:
            expected = f"({wanted[0]},{wanted[1]}) as in the test file" if wanted else "the end"
            raise malformed(path, number, "column 1", expected, head)
        found = [integer(f, path, number, f"column {i}") for i, f in enumerate(fields, start=2)]
        if not found:
            raise DataError(f"{path}:{number}: expected negatives, got none")
        for i, item in enumerate(found):
            if item in found[:i]:
                raise malformed(path, number, f"column {i + 2}", "each candidate once", item)
        yield [item for item in found if item != wanted[1]]


def _index(ids: Ints, values: Ints) -> Ints:
    """1 + the position of each value in `ids`, 0 where it is not there."""
    at = np.minimum(np.searchsorted(ids, values), len(ids) - 1)
    return np.where(ids[at] == values, at + 1, 0)
