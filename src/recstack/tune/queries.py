"""Queries of a size, for traffic to be made of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from recstack.data import random_batch, streams
from recstack.loadtest.sizes import Sizes
from recstack.model import Model
from recstack.types import Query

SAMPLE = 100_000
QueryFactory = Callable[[int, int], Query]
"""`factory(index, rows)`: query `index` of a schedule, of so many rows."""


def largest_rows(sizes: Sizes) -> int:
    """The largest query to come: of a hundred thousand.

    >>> from recstack.loadtest.sizes import parse
    >>> [largest_rows(parse(form)) for form in ("fixed:64", "mlperf", "production")]
    [64, 700, 1000]
    """
    return int(sizes.sample(SAMPLE, np.random.default_rng(0)).max())


class QueryPool:
    """A query factory that makes at most `per_size` queries of each size and then repeats them.

    what: of which kind its queries are, for a journal of what was measured with them.
    """

    def __init__(self, factory: QueryFactory, per_size: int = 4, what: str = "") -> None:
        self.what = what
        self._factory = factory
        self._per_size = per_size
        self._made: dict[tuple[int, int], Query] = {}

    def __call__(self, index: int, rows: int) -> Query:
        """Query `index` of `rows` rows."""
        key = (index % self._per_size, rows)
        if key not in self._made:
            self._made[key] = self._factory(index, rows)
        return self._made[key]


def random_queries(model: Model, seed: int, indices: str = "uniform") -> QueryPool:
    """A factory of random queries for `model`, a few of each size.

    indices: a form of `recstack.data.streams`; each query reads a recorded stream, or one with its
        reuse, from places of its own.
    """
    stream = streams.parse(indices)
    if isinstance(stream, streams.Reuse):
        stream = stream.recorded(np.random.default_rng(seed))
    return QueryPool(
        lambda index, rows: Query(index, random_batch(model, rows, seed + index, indices=stream)),
        what=f"random, seed {seed}, {indices} indices",
    )
