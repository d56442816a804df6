"""Schedules: arrays of arrival times, made before the run.

A new arrival process is one more function here and a line in `PROCESSES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError

Process = Callable[[float, int, np.random.Generator], NDArray[np.int64]]


def poisson(rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrivals of a Poisson process: exponential gaps of mean 1 / rate.

    The same generator state gives the same pattern at every rate, only stretched, and a longer
    schedule starts with the shorter one: probes at other rates see common random numbers.

    Parameters
    ----------
    rate_qps: arrivals per second, > 0.
    count: arrivals, >= 1.
    rng: source of the gaps; each schedule draws `count` numbers from it.

    Returns
    -------
    (count,) int64, ascending, nanoseconds since the start of the run.

    Raises
    ------
    ConfigError: rate or count out of range, or the schedule would last over 100 years.

    >>> poisson(1000.0, 3, np.random.default_rng(0)).tolist()
    [679932, 1699529, 1719336]
    """
    _check(rate_qps, count)
    return _to_ns(np.cumsum(rng.standard_exponential(count)) / rate_qps)


def uniform(rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Arrivals at a fixed gap of 1 / rate, the first after one gap; draws nothing from `rng`.

    >>> uniform(1000.0, 3, np.random.default_rng(0)).tolist()
    [1000000, 2000000, 3000000]
    """
    del rng
    _check(rate_qps, count)
    return _to_ns(np.arange(1, count + 1) / rate_qps)


PROCESSES: dict[str, Process] = {"poisson": poisson, "uniform": uniform}


def parse(text: str) -> Process:
    """The arrival process of this name.

    Raises
    ------
    ConfigError: the name is unknown.

    >>> parse("poisson") is poisson
    True
    """
    if text not in PROCESSES:
        raise ConfigError(f"expected arrivals {' | '.join(PROCESSES)}, got {text!r}")
    return PROCESSES[text]


def _check(rate_qps: float, count: int) -> None:
    if not (math.isfinite(rate_qps) and rate_qps > 0):
        raise ConfigError(f"expected a rate > 0 queries/s, got {rate_qps}")
    if count < 1:
        raise ConfigError(f"expected at least 1 arrival, got {count}")


def _to_ns(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    if not times_s[-1] < 3.2e9:
        raise ConfigError(f"expected a schedule under 100 years, got {times_s[-1]:.3g} s")
    return np.rint(times_s * 1e9).astype(np.int64)
