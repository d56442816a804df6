"""Percentiles from order statistics, with confidence; the counting behind verdicts on them.

Of n independent values, the number below the true p-quantile is Binomial(n, p). So two order
statistics enclose the quantile with a known probability, whatever the distribution (David and
Nagaraja, Order Statistics, section 7.1), and a count of values over a limit decides whether the
percentile is within it (MLPerf's early stopping).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Quantile:
    """An estimate and its confidence interval; a bound that the sample cannot give is infinite."""

    value: float
    low: float
    high: float
    confidence: float


def quantile(values: NDArray[np.float64], share: float, confidence: float = 0.95) -> Quantile:
    """The smallest value that at least `share` of the values do not exceed.

    Parameters
    ----------
    values: (n,) float64, in any order; infinity is allowed (a query that was never answered).
    share: between 0 and 1, such as 0.95.
    confidence: of the interval. It assumes independent values; latencies of queries that queue
        behind each other are correlated, so intervals over repeated runs are wider.

    Raises
    ------
    ConfigError: no values, or a share or confidence outside (0, 1).

    >>> quantile(np.arange(1, 1001.0), 0.95)
    Quantile(value=950.0, low=936.0, high=964.0, confidence=0.95)
    """
    if not values.size:
        raise ConfigError("expected at least one value for a percentile, got none")
    _check_share(share, "share")
    _check_share(confidence, "confidence")
    ordered, n = np.sort(values), values.size
    rank = min(max(math.ceil(share * n - 1e-9), 1), n)
    cdf = binomial_cdf(n, share)
    spare = (1.0 - confidence) / 2.0
    # P(x_(l) > q) = P(B <= l - 1) and P(x_(u) < q) = P(B >= u), each at most `spare`.
    low_rank = int(np.searchsorted(cdf, spare, side="right"))
    high_rank = int(np.searchsorted(cdf, 1.0 - spare, side="left")) + 1
    return Quantile(
        value=float(ordered[rank - 1]),
        low=float(ordered[low_rank - 1]) if low_rank >= 1 else -math.inf,
        high=float(ordered[high_rank - 1]) if high_rank <= n else math.inf,
        confidence=confidence,
    )


def binomial_cdf(n: int, p: float) -> NDArray[np.float64]:
    """P(B <= k) for k = 0..n, B ~ Binomial(n, p); (n + 1,) float64, O(n).

    >>> binomial_cdf(2, 0.5).round(12).tolist()
    [0.25, 0.75, 1.0]
    """
    k = np.arange(n)
    steps = np.log(n - k) - np.log(k + 1.0) + (math.log(p) - math.log1p(-p))
    log_mass = np.concatenate(([0.0], np.cumsum(steps))) + n * math.log1p(-p)
    total: NDArray[np.float64] = np.cumsum(np.exp(log_mass))
    cdf: NDArray[np.float64] = np.minimum(total / total[-1], 1.0)
    return cdf


def needed(allowed: float, confidence: float = 0.99, over: int = 0) -> int:
    """Queries after which `over` of them past the limit still prove that the percentile holds.

    The smallest n with P(Binomial(n, allowed) <= over) <= 1 - confidence: MLPerf's early stopping.
    With `over` 0 it is the least number of queries from which the percentile says anything.

    >>> needed(0.01), needed(0.01, over=1), needed(0.10)
    (459, 662, 44)
    """
    _check_share(allowed, "allowed")
    _check_share(confidence, "confidence")
    low, high = over, over + 1
    while _at_most(over, high, allowed) > 1.0 - confidence:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _at_most(over, middle, allowed) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return high


def within(over: int, n: int, allowed: float) -> float:
    """P(B <= over), B ~ Binomial(n, allowed); small when less than `allowed` is over the limit."""
    return _at_most(over, n, allowed)


def beyond(over: int, n: int, allowed: float) -> float:
    """P(B >= over), B ~ Binomial(n, allowed); small when more than `allowed` is over the limit."""
    if over <= 0:
        return 1.0
    # The other tail, summed on its own: 1 - cdf would lose what is small.
    return _at_most(n - over, n, 1.0 - allowed)


def _at_most(k: int, n: int, p: float) -> float:
    """P(B <= k), B ~ Binomial(n, p), summed downwards from k in logarithms."""
    if k >= n:
        return 1.0
    i = np.arange(k)
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    last = log_choose + k * math.log(p) + (n - k) * math.log1p(-p)
    # mass(i) / mass(i + 1) = (i + 1) / (n - i) * (1 - p) / p
    steps = np.log(i + 1.0) - np.log(n - i) + (math.log1p(-p) - math.log(p))
    log_mass = np.concatenate((np.cumsum(steps[::-1])[::-1], [0.0])) + last
    return min(float(np.exp(log_mass).sum()), 1.0)


def _check_share(value: float, name: str) -> None:
    if not 0.0 < value < 1.0:
        raise ConfigError(f"expected {name} between 0 and 1, got {value}")
