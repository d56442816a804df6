"""Straight lines between measured points, in the logarithms of both axes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise


def log_log(points: Iterable[tuple[float, float]], x: float) -> float:
    """The value at `x` > 0 of the curve through `points` (x, y), all positive, at least one.

    Straight between neighbours when both axes are logarithmic, so a power law is met exactly; past
    the ends the value of the end: nothing is known there.

    >>> round(log_log([(1, 10), (100, 1000)], 10), 9)
    100.0
    >>> log_log([(1, 10), (100, 1000)], 1e6)
    1000
    """
    known = sorted(points)
    if x <= known[0][0]:
        return known[0][1]
    for (x0, y0), (x1, y1) in pairwise(known):
        if x <= x1:
            share = math.log(x / x0) / math.log(x1 / x0)
            return math.exp(math.log(y0) + share * math.log(y1 / y0)) if x < x1 else y1
    return known[-1][1]
