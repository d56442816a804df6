"""LoadGen's server schedule, drawn again: when each query was to arrive.

LoadGen does not log it. It draws exponential gaps with the C++ library's `std::mt19937` and
`std::exponential_distribution` from the schedule's seed, so the same numbers can be drawn here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def server_schedule_ns(seed: int, qps: float, count: int) -> NDArray[np.int64]:
    """(count,) int64, the first at 0.

    Source: LoadGen 6.0.17; libstdc++'s generate_canonical takes two draws of 32 bits, the low half
    first, and its exponential is -log(1 - u) / rate.

    >>> server_schedule_ns(16159082839903944936, 300.0, 3).tolist()
    [0, 6145513, 7671925]
    """
    draws = np.random.RandomState(seed & 0xFFFFFFFF).bytes(8 * (count - 1))
    low, high = np.frombuffer(draws, "<u4").reshape(-1, 2).T.astype(np.float64)
    u = np.minimum((low + high * 2.0**32) / 2.0**64, np.nextafter(1.0, 0.0))
    gaps_ns = (-np.log(1.0 - u) / qps * 1e9).astype(np.int64)
    return np.concatenate(([0], np.cumsum(gaps_ns)))
