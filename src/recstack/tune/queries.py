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


POOL_BYTES = 256 << 20
LEAST_BYTES = 64 << 10  # that a query counts for: few rows are soon made, but not for nothing


def largest_rows(sizes: Sizes) -> int:
    """The largest query to come: of a hundred thousand.

    >>> from recstack.loadtest.sizes import parse
    >>> [largest_rows(parse(form)) for form in ("fixed:64", "mlperf", "production")]
    [64, 700, 1000]
    """
    return int(sizes.sample(SAMPLE, np.random.default_rng(0)).max())


class QueryPool:
    """A query factory that makes different queries up to so many bytes, then repeats them.

    Few queries and the table rows that they read stay in cache, which flatters the system under
    test: state `different` beside a result.

    per_size: so many queries of each size at most.
    most_bytes: of all their arrays; the first query of a size is made all the same.
    what: of which kind its queries are, for a journal of what was measured with them.
    """

    def __init__(
        self,
        factory: QueryFactory,
        per_size: int | None = None,
        most_bytes: int = POOL_BYTES,
        what: str = "",
    ) -> None:
        self.what = what
        self._factory = factory
        self._per_size = per_size
        self._most_bytes = most_bytes
        self._bytes = 0
        self._made: dict[tuple[int, int], Query] = {}
        self._of_size: dict[int, list[Query]] = {}

    @property
    def different(self) -> int:
        """How many queries it has made."""
        return len(self._made)

    def __call__(self, index: int, rows: int) -> Query:
        """Query `index` of `rows` rows; the same one whenever it is asked for again."""
        key = (index if self._per_size is None else index % self._per_size, rows)
        if key in self._made:
            return self._made[key]
        same_size = self._of_size.setdefault(rows, [])
        if same_size and self._bytes >= self._most_bytes:
            return same_size[index % len(same_size)]
        query = self._factory(index, rows)
        self._made[key] = query
        same_size.append(query)
        self._bytes += max(_nbytes(query), LEAST_BYTES)
        return query


def _nbytes(query: Query) -> int:
    batch = query.batch
    arrays = (batch.dense, batch.user_dense, batch.values, batch.lengths, batch.weights)
    return sum(array.nbytes for array in arrays if array is not None)


def random_queries(model: Model, seed: int, indices: str = "uniform") -> QueryPool:
    """A factory of random queries for `model`, different ones up to `POOL_BYTES`.

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
