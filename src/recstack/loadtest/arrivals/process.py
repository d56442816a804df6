"""What an arrival process is, and the checks that all share."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError

Process = Callable[[float, int, np.random.Generator], NDArray[np.int64]]
"""`process(rate_qps, count, rng)`: (count,) int64 ns since the start of the run, ascending.

The same generator state gives the same pattern at every rate, and a longer schedule starts with the
shorter one: probes at other rates see common random numbers. Raises ConfigError when rate or count
is out of range, or the schedule would last over 100 years.
"""


def check(rate_qps: float, count: int) -> None:
    """Raise ConfigError unless the rate is positive and finite and there is an arrival."""
    if not (math.isfinite(rate_qps) and rate_qps > 0):
        raise ConfigError(f"expected a rate > 0 queries/s, got {rate_qps}")
    if count < 1:
        raise ConfigError(f"expected at least 1 arrival, got {count}")


def check_option(where: str, value: float, low: float, high: float) -> None:
    """Raise ConfigError unless low < value <= high."""
    if not low < value <= high:
        raise ConfigError(f"expected {where} over {low:g} and up to {high:g}, got {value}")


def to_ns(times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Seconds as integer nanoseconds; ConfigError past 100 years."""
    if not times_s[-1] < 3.2e9:
        raise ConfigError(f"expected a schedule under 100 years, got {times_s[-1]:.3g} s")
    return np.rint(times_s * 1e9).astype(np.int64)
