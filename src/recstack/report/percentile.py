"""Percentiles from order statistics; the twin of `recstack.loadtest.quantiles`, a layer away."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Percentile:
    """An estimate and its interval; a bound that the sample cannot give is infinite."""

    value: float
    low: float
    high: float


def percentile(ordered: NDArray[np.float64], share: float) -> Percentile:
    """The smallest value that at least `share` of the values do not exceed, at 95% confidence.

    Of n independent values, the number below the true quantile is Binomial(n, share), so two order
    statistics enclose it (David and Nagaraja, Order Statistics, section 7.1).

    ordered: (n,) float64, ascending, n >= 1; infinite where a query was never answered.

    >>> percentile(np.arange(1, 1001.0), 0.95)
    Percentile(value=950.0, low=936.0, high=964.0)
    """
    n = ordered.size
    rank = min(max(math.ceil(share * n - 1e-9), 1), n)
    cdf = _binomial_cdf(n, share)
    spare = (1.0 - CONFIDENCE) / 2.0
    low = int(np.searchsorted(cdf, spare, side="right"))
    high = int(np.searchsorted(cdf, 1.0 - spare, side="left")) + 1
    return Percentile(
        value=float(ordered[rank - 1]),
        low=float(ordered[low - 1]) if low >= 1 else -math.inf,
        high=float(ordered[high - 1]) if high <= n else math.inf,
    )


def _binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(B <= k) for k = 0..n; (n + 1,) float64, summed in logarithms."""
    k = np.arange(n)
    steps = np.log(n - k) - np.log(k + 1.0) + (math.log(p) - math.log1p(-p))
    log_mass = np.concatenate(([0.0], np.cumsum(steps))) + n * math.log1p(-p)
    total: NDArray[np.float64] = np.cumsum(np.exp(log_mass))
    cdf: NDArray[np.float64] = np.minimum(total / total[-1], 1.0)
    return cdf


def least_queries(share: float, confidence: float = 0.99) -> int:
    """Queries below which the percentile says nothing: `share` ** n > 1 - confidence.

    >>> least_queries(0.99), least_queries(0.90)
    (459, 44)
    """
    return math.ceil(math.log(1.0 - confidence) / math.log(share) - 1e-9)
