"""Behaviour sequences: which item does a user touch next, given those before it?

    X.txt                       user item item ..., in time order, parted by spaces
    X_item2attributes.json      {"item": [attribute, ...], ...}, the finest category last

    data = load("Beauty.txt.gz", "Beauty_item2attributes.json.gz")
    user, position = cut(data, "train")          # the last item is test, the one before validation
    features = Features(data)
    batch = features.of(user, position, data.item(user, position)).batch()

Items and attributes are known if a training position has them; the others have index 0. Format and
split: Zhou et al., S3-Rec, CIKM 2020, its authors' code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Input, SparseInput
from recstack.data.lines import integer, lines, malformed
from recstack.data.rows import Bags, Rows, frozen, take_bags
from recstack.data.slices import ranges
from recstack.errors import ConfigError, DataError

Ints = NDArray[np.int64]
HELD_OUT = 2  # positions at a sequence's end: validation, then test
PartName = Literal["train", "valid", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """The files as read-only arrays.

    items: (interactions,) int64, positions in `ids`, user after user. starts: (users + 1,) int64,
    where each user's sequence begins in `items`. users, ids: int64, the files' ids; `ids`
    ascending. attributes: per item, (values, lengths), positions in `attribute_ids`.
    """

    items: Ints
    starts: Ints
    users: Ints
    ids: Ints
    attributes: Bags
    attribute_ids: Ints

    def item(self, user: Ints, position: Ints) -> Ints:
        """The items at these positions of these users' sequences, (R,) int64."""
        found: Ints = self.items[self.starts[user] + position]
        return found

    @property
    def lengths(self) -> Ints:
        """(users,) int64, items per user."""
        return np.diff(self.starts)


def load(sequences: str | Path, attributes: str | Path | None = None) -> Behaviour:
    """Read a file of sequences and, where given, of attributes; plain or gzipped.

    An item without attributes has none. Raises DataError, naming file, line and column or the
    item, on malformed content.
    """
    users: dict[int, int] = {}
    flat: list[int] = []
    starts = [0]
    for number, text in lines(sequences):
        fields = text.split()
        if len(fields) < 2:
            raise DataError(
                f"{sequences}:{number}: expected a user and items, got {len(fields)} fields"
            )
        numbers = [
            integer(f, sequences, number, f"column {i}") for i, f in enumerate(fields, start=1)
        ]
        if numbers[0] in users:
            raise malformed(sequences, number, "column 1", "each user once", numbers[0])
        users[numbers[0]] = number
        flat += numbers[1:]
        starts.append(len(flat))
    if not flat:
        raise DataError(f"{sequences}:1: expected sequences, got none")
    ids, items = np.unique(np.array(flat, np.int64), return_inverse=True)
    about = {} if attributes is None else _attributes(attributes)
    known = [about.get(i, []) for i in ids.tolist()]
    values, positions = np.unique(
        np.array([a for bag in known for a in bag], np.int64), return_inverse=True
    )
    return Behaviour(
        items=frozen(items.astype(np.int64)),
        starts=frozen(np.array(starts, np.int64)),
        users=frozen(np.array(list(users), np.int64)),
        ids=frozen(ids),
        attributes=(
            frozen(positions.astype(np.int64)),
            frozen(np.array([len(bag) for bag in known], np.int32)),
        ),
        attribute_ids=frozen(values),
    )


def _attributes(path: str | Path) -> Mapping[int, list[int]]:
    text = "".join(line for _, line in lines(path))
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: {error.msg} - at column {error.colno}") from error
    except (ValueError, RecursionError) as error:  # an integer too long, lists too deep
        raise DataError(f"{path}: expected JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: expected an object, got {type(found).__name__}")
    out: dict[int, list[int]] = {}
    for item, bag in found.items():
        if not (item.isascii() and item.isdigit() and len(item) <= 10):
            raise DataError(f"{path}: expected an item id as key, got {item!r}")
        fits = isinstance(bag, list) and all(
            isinstance(a, int) and not isinstance(a, bool) and 0 <= a < 1 << 31 for a in bag
        )
        if not fits:
            raise DataError(f"{path}: expected a list of integers, got {bag!r} - at `{item}`")
        out[int(item)] = bag
    return out


def cut(data: Behaviour, part: PartName) -> tuple[Ints, Ints]:
    """(user, position), (R,) int64 each, of one part of the split.

    "test" is every user's last item, "valid" the one before, "train" those before it that have a
    history. Users with fewer than three items have training positions alone.
    """
    lengths = data.lengths
    users = np.arange(len(lengths))
    split = lengths > HELD_OUT
    if part != "train":
        kept = users[split]
        return kept, lengths[kept] - (1 if part == "test" else 2)
    count = np.maximum(np.where(split, lengths - HELD_OUT, lengths) - 1, 0)
    return np.repeat(users, count), ranges(np.ones(len(users), np.int64), count)


class Features:
    """Features of a user at a position of their sequence, and of an item that may come next.

    history: how many of the user's last items are read. Vocabularies hold the items of training
    positions and their attributes; an item's category is its last attribute.
    """

    def __init__(self, data: Behaviour, history: int = 20) -> None:
        if history < 1:
            raise ConfigError(f"expected history >= 1, got {history}")
        self.data, self._history = data, history
        trained = np.where(data.lengths > HELD_OUT, data.lengths - HELD_OUT, data.lengths)
        seen = np.unique(data.items[ranges(data.starts[:-1], trained)])
        self.index = np.zeros(len(data.ids), np.int64)
        self.index[seen] = np.arange(1, len(seen) + 1)
        self._attribute = np.zeros(len(data.attribute_ids), np.int64)
        known = np.unique(take_bags(data.attributes, seen)[0])
        self._attribute[known] = np.arange(1, len(known) + 1)
        values, lengths = data.attributes
        self._bags = self._attribute[values], lengths
        last = np.cumsum(lengths, dtype=np.int64) - 1
        self._category = np.zeros(len(data.ids), np.int64)
        self._category[lengths > 0] = self._bags[0][last[lengths > 0]]

    @property
    def schema(self) -> tuple[Input, ...]:
        """history and history_category side by side, then the item, its category and attributes."""
        return (
            SparseInput(name="history", length=self._history, scope="user"),
            SparseInput(name="history_category", length=self._history, scope="user"),
            SparseInput(name="item", fixed=True),
            SparseInput(name="category", fixed=True),
            SparseInput(name="attributes", length=4),
        )

    @property
    def table_rows(self) -> dict[str, int]:
        """Rows of the table that each sparse feature looks up."""
        items = int(self.index.max()) + 1
        attributes = int(self._attribute.max(initial=0)) + 1
        return {
            "history": items, "history_category": attributes, "item": items,
            "category": attributes, "attributes": attributes,
        }  # fmt: skip

    def of(self, user: Ints, position: Ints, item: Ints) -> Rows:
        """Features of R requests: may `item` stand at `position` of `user`'s sequence?

        user, position: (R,) int64. item: (R,) int64, positions in the data's `ids`. The history is
        what stands before `position`, oldest first.
        """
        one = np.ones(len(user), np.int32)
        lengths = np.minimum(position, self._history)
        past = self.data.items[ranges(self.data.starts[user] + position - lengths, lengths)]
        sizes = lengths.astype(np.int32)
        sparse: dict[str, Bags] = {
            "history": (self.index[past], sizes),
            "history_category": (self._category[past], sizes),
            "item": (self.index[item], one),
            "category": (self._category[item], one),
            "attributes": take_bags(self._bags, item),
        }
        empty = np.zeros((len(user), 0), np.float32)
        return Rows(self.schema, empty, empty, MappingProxyType(sparse))
