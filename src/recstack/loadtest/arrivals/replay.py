"""Arrivals as recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recstack.errors import DataError
from recstack.files import read_numbers
from recstack.loadtest.arrivals.process import check, to_ns


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Recorded arrivals, stretched to the rate asked for, over and over when the run is longer.

    times: (n,) float64, ascending, in any unit and from any origin; at least two, not all equal.

    The first arrives at time 0; after the last, the trace starts again one mean gap later. Replays
    the same whatever the seed.

    >>> Trace(np.array([10.0, 11.0, 13.0, 16.0]))(1000.0, 5, np.random.default_rng(0)).tolist()
    [0, 500000, 1500000, 3000000, 4000000]
    """

    times: NDArray[np.float64]

    def __post_init__(self) -> None:
        times = self.times
        if times.size < 2 or not np.isfinite(times).all() or not times[-1] > times[0]:
            raise DataError(f"expected at least two different finite times, got {times.size}")
        if (down := np.flatnonzero(np.diff(times) < 0)).size:
            raise DataError(
                f"expected times that ascend, got a smaller one - at time {down[0] + 1}"
            )

    def __call__(self, rate_qps: float, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """(count,) int64 ns; draws nothing."""
        del rng
        check(rate_qps, count)
        n = self.times.size
        start = self.times[0]
        # In mean gaps, so that a whole round lasts n of them.
        gaps = (self.times - start) * ((n - 1) / (self.times[-1] - start))
        at = np.arange(count)
        return to_ns((gaps[at % n] + at // n * n) / rate_qps)


def read_trace(path: Path) -> Trace:
    """The trace in a file of one time per line, plain or gzipped. Raises DataError naming it."""
    times = read_numbers(path, np.float64)
    try:
        return Trace(times)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
