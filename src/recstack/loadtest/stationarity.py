"""Where a run's warm-up ends, and whether what is left is steady.

Both look at latencies in arrival order, (n,) float64; infinite ones (unanswered) count as the
largest finite one.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

LONGEST = 0.25
NEAR = 1.05
BLOCKS = 20
FACTOR = 1.5
_Z = 3.72  # 1e-4, one-sided


def warmup_cut(latency_ns: NDArray[np.float64], longest: float = LONGEST) -> int:
    """Leading queries to leave out so that the rest looks stationary: MSER-5.

    Cuts where the standard error of the remaining batch means (of 5) is least; White, "An effective
    truncation heuristic for bias reduction in simulation output", Simulation 69(6), 1997. At most
    the first `longest` of the run is cut.

    >>> settles = np.concatenate([np.linspace(900.0, 10.0, 100), np.full(900, 10.0)])
    >>> warmup_cut(settles)
    100
    """
    return 5 * _least(latency_ns, longest)[0]


def still_warming_up(latency_ns: NDArray[np.float64], longest: float = LONGEST) -> bool:
    """Whether the best cut is about the longest allowed: the classical sign of too short a run.

    Of steady runs at high load a few in a hundred show it by chance, and more where they are short.
    """
    cut, most = _least(latency_ns, longest)
    return 0 < most <= cut * NEAR


def _least(latency_ns: NDArray[np.float64], longest: float) -> tuple[int, int]:
    """Batches of 5 to cut, and the most that may be."""
    if latency_ns.size < 40 or not np.isfinite(latency_ns).any():
        return 0, 0
    capped = _capped(latency_ns)
    means = capped[: latency_ns.size // 5 * 5].reshape(-1, 5).mean(axis=1)
    means = means - means.mean()
    left = np.arange(means.size, 0, -1)
    total = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means**2)[::-1])[::-1]
    error = (squares - total**2 / left) / left.astype(np.float64) ** 2
    most = max(int(means.size * longest), 1)
    return int(np.argmin(error[:most])), most - 1


def drift(latency_ns: NDArray[np.float64]) -> float:
    """The factor by which latencies rise (or fall) over a run without warm-up; 1 when they do not.

    It is the last quarter's median over the first's, where the medians of BLOCKS blocks move in one
    direction beyond chance (Mann, "Nonparametric tests against trend", Econometrica 13, 1945; 1e-4
    each way) and the factor is over FACTOR or under its inverse. A run at more than the system
    holds rises until it ends, and its percentiles say how long it was, nothing else.

    >>> rng = np.random.default_rng(0)
    >>> drift(rng.standard_exponential(4000))
    1.0
    >>> round(drift(rng.standard_exponential(4000) + np.arange(4000) / 500))
    4
    """
    if latency_ns.size < 10 * BLOCKS or not np.isfinite(latency_ns).any():
        return 1.0
    capped = _capped(latency_ns)
    medians = np.array([np.median(block) for block in np.array_split(capped, BLOCKS)])
    later, earlier = np.triu_indices(BLOCKS, 1)[::-1]
    moves = float(np.sign(medians[later] - medians[earlier]).sum())
    spread = math.sqrt(BLOCKS * (BLOCKS - 1) * (2 * BLOCKS + 5) / 18.0)
    if abs(moves) <= _Z * spread:
        return 1.0
    quarter = capped.size // 4
    first, last = float(np.median(capped[:quarter])), float(np.median(capped[-quarter:]))
    factor = last / max(first, 1e-9)
    return factor if factor > FACTOR or factor < 1.0 / FACTOR else 1.0


def _capped(latency_ns: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(latency_ns)
    return np.where(finite, latency_ns, latency_ns[finite].max())
