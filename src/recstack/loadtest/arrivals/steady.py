"""Arrivals whose rate does not change: independent gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.loadtest.arrivals.process import check, check_option, to_ns


def poisson(rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrivals of a Poisson process: exponential gaps of mean 1 / rate.

    >>> poisson(1000.0, 3, np.random.default_rng(0)).tolist()
    [679932, 1699529, 1719336]
    """
    check(rate_qps, count)
    return to_ns(np.cumsum(rng.standard_exponential(count)) / rate_qps)


def uniform(rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrivals at a fixed gap of 1 / rate, the first after one gap; draws nothing from `rng`.

    >>> uniform(1000.0, 3, np.random.default_rng(0)).tolist()
    [1000000, 2000000, 3000000]
    """
    del rng
    check(rate_qps, count)
    return to_ns(np.arange(1, count + 1) / rate_qps)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma gaps of coefficient of variation `cv`: below 1 more regular than Poisson, above bursty.

    >>> gaps = np.diff(Gamma(2.0)(1000.0, 100_000, np.random.default_rng(0)))
    >>> float(round(gaps.std() / gaps.mean(), 1))
    2.0
    """

    cv: float

    def __post_init__(self) -> None:
        check_option("gamma:cv", self.cv, 0.0, 20.0)

    def __call__(self, rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64 ns."""
        check(rate_qps, count)
        square = self.cv**2
        return to_ns(np.cumsum(rng.standard_gamma(1.0 / square, count)) * (square / rate_qps))


def deeprecsys(rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Compatibility: gaps as DeepRecSys's released load generator draws them.

    Whole milliseconds from a Poisson *distribution* of mean 1000 / rate. That is no Poisson
    process: the gaps' coefficient of variation is sqrt(rate / 1000) instead of 1, 0.45 at 200
    queries/s, so queues look shorter than they are. Only for comparing with figures made this way.

    Source: harvard-acc/DeepRecSys, loadGenerator.py (Gupta et al., ISCA 2020).

    >>> deeprecsys(200.0, 4, np.random.default_rng(0)).tolist()
    [3000000, 10000000, 13000000, 17000000]
    """
    check(rate_qps, count)
    return to_ns(np.cumsum(rng.poisson(1e3 / rate_qps, count)) / 1e3)
