"""Traffic: when queries arrive and how large they are, made before the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.loadtest import arrivals, sizes
from recstack.types import Query


@dataclass(frozen=True, slots=True, eq=False)
class Traffic:
    """Arrivals and sizes of n queries.

    scheduled_ns: (n,) int64, ascending, nanoseconds since the start of the run.
    rows: (n,) int64, rows of each query.
    """

    scheduled_ns: NDArray[np.int64]
    rows: NDArray[np.int64]


def make_traffic(
    rate_qps: float,
    count: int,
    *,
    seed: int,
    process: arrivals.Process = arrivals.poisson,
    distribution: sizes.Sizes | None = None,
) -> Traffic:
    """Traffic of `count` queries at `rate_qps`; sizes are the production mix when None.

    Gaps and sizes come from two independent streams of one seed, so that the same seed gives the
    same sizes and the same arrival pattern at every rate.

    Raises
    ------
    ConfigError: rate, count or seed out of range.

    >>> make_traffic(1000.0, 3, seed=0, distribution=sizes.Fixed(8)).rows.tolist()
    [8, 8, 8]
    """
    if seed < 0:
        raise ConfigError(f"expected a seed >= 0, got {seed}")
    gaps, rows = np.random.default_rng(seed).spawn(2)
    distribution = sizes.Production() if distribution is None else distribution
    return Traffic(process(rate_qps, count, gaps), distribution.sample(count, rows))


def make_queries(
    factory: Callable[[int, int], Query], rows: NDArray[np.int64], *, per_size: int | None = None
) -> list[Query]:
    """Every query of the run, made before it, so that nothing is generated on the issuing path.

    Parameters
    ----------
    factory: makes query `index` of so many rows.
    rows: (n,) rows of each query.
    per_size: at most this many different queries of one size, reused in turn (their batches are
        shared, not copied); None makes all n different. Few of them stay in cache, which flatters
        the system under test: state the number beside the result.

    Raises
    ------
    ConfigError: `per_size` < 1, or the factory made a query of another size.

    >>> from recstack.loadtest.null import empty_query
    >>> made = make_queries(empty_query, np.array([2, 2, 2, 5]), per_size=2)
    >>> [q.batch.rows for q in made], made[0].batch is made[2].batch
    ([2, 2, 2, 5], True)
    """
    if per_size is not None and per_size < 1:
        raise ConfigError(f"expected per_size >= 1, got {per_size}")
    made: list[Query] = []
    of_size: dict[int, list[Query]] = {}
    seen: dict[int, int] = {}
    for index, size in enumerate(rows.tolist()):
        pool = of_size.setdefault(size, [])
        turn = seen.get(size, 0)
        seen[size] = turn + 1
        if per_size is None or len(pool) < per_size:
            query = _checked(factory(index, size), index, size)
            if per_size is not None:
                pool.append(query)
        else:
            query = pool[turn % per_size]
        made.append(query)
    return made


def check_enough(rate_qps: float, seconds: float) -> None:
    """Raise ConfigError unless at least one query is to come: who waits for it may wait long."""
    if rate_qps * seconds < 1:
        raise ConfigError(
            f"expected a rate and a time in which at least one query comes, got {rate_qps:g} "
            f"queries/s for {seconds:g} s"
        )


def check_same_length(queries: Sequence[Query], scheduled_ns: NDArray[np.int64]) -> None:
    """Raise ConfigError unless there is an ascending arrival time for every query."""
    if scheduled_ns.ndim != 1 or scheduled_ns.dtype != np.int64:
        raise ConfigError(
            f"expected (n,) int64 arrival times, got {scheduled_ns.shape} {scheduled_ns.dtype}"
        )
    if not len(queries) or len(queries) != scheduled_ns.size:
        raise ConfigError(
            f"expected as many queries as arrivals, at least one, got {len(queries)} and "
            f"{scheduled_ns.size}"
        )
    if scheduled_ns[0] < 0 or (np.diff(scheduled_ns) < 0).any():
        raise ConfigError("expected arrival times that ascend from 0 or more")


def _checked(query: Query, index: int, rows: int) -> Query:
    if query.batch.rows != rows:
        raise ConfigError(
            f"expected {rows} rows from the factory, got {query.batch.rows} - at query {index}"
        )
    return query
