"""Items that a user has not touched, drawn evenly: the other half of implicit feedback."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError

Ints = NDArray[np.int64]


class Unseen:
    """Draws items that users have not touched.

    user, item: (interactions,) int64, what was touched; items in [0, items). first: the least item
    that may be drawn.

    >>> draw = Unseen(np.array([0, 0, 0]), np.array([0, 1, 3]), items=5)
    >>> sorted(draw(np.random.default_rng(0), np.array([0]), 2)[0].tolist())
    [2, 4]
    """

    def __init__(self, user: Ints, item: Ints, items: int, first: int = 0) -> None:
        self._items, self._first = items, first
        self._seen = np.unique(user * items + item)
        owner = self._seen // items
        inside = owner[self._seen - owner * items >= first]
        self._touched = np.bincount(inside, minlength=1)

    def __call__(self, rng: np.random.Generator, users: Ints, count: int = 1) -> Ints:
        """(len(users), count) int64, even over each user's unseen items, distinct in each row.

        Raises ConfigError where a user has fewer than `count` unseen items.
        """
        known = users[users < len(self._touched)]
        most = int(self._touched[known].max()) if len(known) else 0
        if self._items - self._first - most < count:
            raise ConfigError(
                f"expected at most {self._items - self._first - most} negatives, got {count}"
            )
        drawn = rng.integers(self._first, self._items, (len(users), count))
        while True:
            again = np.isin(users[:, None] * self._items + drawn, self._seen) | _repeated(drawn)
            if not again.any():
                return drawn
            drawn[again] = rng.integers(self._first, self._items, int(again.sum()))


def _repeated(rows: Ints) -> NDArray[np.bool_]:
    """Where a row holds a value that stands further left in it already."""
    order = np.argsort(rows, axis=1, kind="stable")
    ordered = np.take_along_axis(rows, order, axis=1)
    same = np.zeros(rows.shape, np.bool_)
    same[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    out = np.empty_like(same)
    np.put_along_axis(out, order, same, axis=1)
    return out
