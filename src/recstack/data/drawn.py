"""HR@K and NDCG@K against candidates drawn at random, as their mean over all draws.

One draw of 99 negatives says little of a user. What the mean over all draws is follows from how
many of all candidates score higher (Krichene and Rendle, On Sampled Metrics for Item
Recommendation, KDD 2020), so that no draw is needed.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recstack.errors import Unprovable

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def drawn_gains(scores: Floats, query_offsets: Ints, *, k: int, of: int, which: str) -> Floats:
    """(R,): what each row would gain as its query's positive one, beside `of` - 1 others drawn.

    scores: (R,) finite. query_offsets: (Q + 1,). which: "hr" or "ndcg". The mean over all draws
    without replacement from the query's other rows; of equal scores the others come first. Raises
    Unprovable for a query of fewer than `of` rows.

    >>> drawn_gains(np.array([3.0, 2, 1]), np.array([0, 3]), k=1, of=2, which="hr").tolist()
    [1.0, 0.5, 0.0]
    """
    sizes = np.diff(query_offsets)
    if len(short := np.flatnonzero((sizes > 0) & (sizes < of))):
        at = int(short[0])
        raise Unprovable(f"expected queries of at least {of} rows, got {sizes[at]} - at query {at}")
    tables = {
        n: gains_by_better(int(n) - 1, k=k, of=of, which=which) for n in np.unique(sizes) if n
    }
    out = np.empty(len(scores))
    for begin, end in pairwise(query_offsets):
        if begin < end:
            mine = scores[begin:end]
            better = end - begin - 1 - np.searchsorted(np.sort(mine), mine)
            out[begin:end] = tables[end - begin][better]
    return out


def gains_by_better(others: int, *, k: int, of: int, which: str) -> Floats:
    """(others + 1,): the mean gain of a row that b = 0, 1, ... of `others` rows come before.

    How many of `of` - 1 drawn ones come before is hypergeometric.
    """
    log = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, others + 1)))])

    def choose(n: Ints, r: Ints) -> Floats:
        fits = (r >= 0) & (r <= n)
        n, r = np.where(fits, n, 0), np.where(fits, r, 0)
        return np.where(fits, log[n] - log[r] - log[n - r], -np.inf)

    better, place = np.arange(others + 1)[:, None], np.arange(k)[None, :]
    drawn = of - 1
    ways = choose(better, place) + choose(others - better, drawn - place)
    chance = np.exp(ways - choose(np.array(others), np.array(drawn)))
    gain = np.ones(k) if which == "hr" else 1 / np.log2(np.arange(2, k + 2))
    return np.asarray(np.minimum(chance @ gain, 1.0), np.float64)
