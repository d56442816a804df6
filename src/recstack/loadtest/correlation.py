"""How much less a count of slow queries says because slow queries come together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BLOCKS = 10
_Z90 = 1.2816


def design_effect(runs: Sequence[NDArray[np.float64]], limit_ns: float, share: float) -> float:
    """How much more the count of queries over a limit varies than with independent queries.

    Queries that wait behind each other are late together, so a binomial test on their count is too
    sure; divide count and total by this first. It is Kish's design effect by batch means: the
    variance of the share between `BLOCKS` long blocks per run, over that of independent queries,
    at the 90% upper bound that the few blocks allow (chi-square, Wilson-Hilferty). A block must be
    long beside the time that a backlog takes to clear: take several thousand queries per run.

    The larger of two is returned, for queries over `limit_ns` and for queries over the sample's own
    `share` quantile: at a rate where hardly any query is over the limit, the first sees nothing.

    Parameters
    ----------
    runs: of (n,) float64 latencies each, in arrival order.
    limit_ns: the limit.
    share: of queries meant to be within it, such as 0.95.

    Returns
    -------
    At least 1.

    >>> independent = np.random.default_rng(0).standard_exponential(10_000)
    >>> together = np.repeat(independent[:100], 100)
    >>> [round(design_effect([x], 3.0, 0.95)) for x in (independent, together)]
    [2, 248]
    """
    pooled = np.concatenate(runs)
    rank = min(max(math.ceil(share * pooled.size) - 1, 0), pooled.size - 1)
    own_ns = float(np.partition(pooled, rank)[rank])
    return max(1.0, *(_effect([run > t for run in runs]) for t in (limit_ns, own_ns)))


def _effect(over: Sequence[NDArray[np.bool_]]) -> float:
    """The design effect's upper bound; 1 where nothing or everything is over."""
    share = sum(int(run.sum()) for run in over) / sum(run.size for run in over)
    if not 0.0 < share < 1.0:
        return 1.0
    spread, count = 0.0, 0
    for run in over:
        length = max(run.size // BLOCKS, 1)
        means = run[: run.size // length * length].reshape(-1, length).mean(axis=1)
        spread += float(((means - share) ** 2).sum()) * length
        count += means.size
    degrees = max(count - 1, 1)
    chi_square_low = (
        degrees * (1.0 - 2.0 / (9.0 * degrees) - _Z90 * math.sqrt(2.0 / (9.0 * degrees))) ** 3
    )
    return spread / max(chi_square_low, 0.01) / (share * (1.0 - share))
