"""Two schedules in turn on live traffic, a window each, until one is known to be better."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recstack import _native
from recstack.loadtest import SLA
from recstack.schedule import ScheduleConfig


@dataclass(frozen=True, slots=True)
class Window:
    """What a dispatcher did between two looks.

    refused: of deadline or queue. latency: of the answered, ns. busy: share of lane time. row_ns:
    lane time per row.
    """

    seconds: float
    refused: int
    latency: _native.HistogramSnapshot
    busy: float
    row_ns: float

    @property
    def qps(self) -> float:
        """Queries ended per second."""
        return (self.latency.count + self.refused) / self.seconds

    def tail_ns(self, share: float) -> float:
        """A percentile, the refused counting as infinitely late."""
        total = self.latency.count + self.refused
        wanted = share * total / self.latency.count if self.latency.count else 2.0
        return float(self.latency.percentile(wanted)) if wanted <= 1.0 else math.inf


class Trial:
    """Windows of the schedule in use and of a neighbour, in the order A B B A A B B A ...

    confidence, margin, pairs: as of `OnlineConfig`. by_cost: scores are lane time per row.
    """

    def __init__(
        self, own: ScheduleConfig, other: ScheduleConfig, first: Window, sla: SLA, *,
        by_cost: bool, confidence: float, margin: float, pairs: int,
    ) -> None:  # fmt: skip
        self.own, self.other, self.first = own, other, first
        self._sla = sla
        self._by_cost = by_cost
        self._confidence, self._margin, self._pairs = confidence, margin, pairs
        self._scores: tuple[list[float], list[float]] = ([], [])
        self._count = 0
        self.last = [first, first]

    @property
    def own_runs(self) -> bool:
        """Whether the window that ends now is of the schedule in use."""
        return self._side() == 0

    @property
    def next(self) -> ScheduleConfig:
        """What runs in the next window."""
        return (self.own, self.other)[self._side()]

    def add(self, window: Window) -> Literal["keep", "drop", "abort"] | None:
        """Take the window that `next` was running in."""
        side, share = self._side(), self._sla.percentile / 100.0
        self._scores[side].append(window.row_ns if self._by_cost else window.tail_ns(share))
        self.last[side] = window
        self._count += 1
        own, other = self._scores
        if side == 1 and not self._by_cost and own:
            usual = max(statistics.median(own), self._sla.limit_ns)
            if other[-1] > 2.0 * usual:
                return "abort"
        if self._count % 2:
            return None
        gains = [log_ratio(a, b) for a, b in zip(own, other, strict=False)]
        return decide(gains, confidence=self._confidence, margin=self._margin, pairs=self._pairs)

    def _side(self) -> int:
        return (0, 1, 1, 0)[self._count % 4]


def decide(
    gains: Sequence[float], *, confidence: float, margin: float, pairs: int
) -> Literal["keep", "drop"] | None:
    """Whether the other is better by more than `margin`, from the logarithms of pairs' ratios.

    "drop" where it is not better in the mean from three pairs on, or not surely after `pairs` >= 4;
    None: another pair. confidence: of "keep", over all looks.
    """
    n = len(gains)
    if n < 3:
        return None
    mean = statistics.fmean(gains)
    if mean <= 0:
        return "drop"
    if n >= 4:
        spread = max(statistics.stdev(gains), 1e-9) / math.sqrt(n)
        # Looks at 4 to `pairs` pairs, each with its part of what may go wrong.
        spare = (1.0 - confidence) / (pairs - 3)
        if (mean - math.log1p(margin)) / spread > student_t(1.0 - spare, n - 1):
            return "keep"
    return "drop" if n >= pairs else None


def student_t(share: float, degrees: int) -> float:
    """A quantile of Student's t: Cornish-Fisher (Abramowitz and Stegun 26.7.5), within 3% from 3
    degrees of freedom on.

    >>> round(student_t(0.95, 10), 2)  # tables say 1.812
    1.81
    """
    z: float = statistics.NormalDist().inv_cdf(share)
    terms = (
        (z**3 + z) / 4.0,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96.0,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384.0,
    )
    return z + sum((term / degrees**i for i, term in enumerate(terms, start=1)), 0.0)


def log_ratio(own: float, other: float) -> float:
    """How much better the other is; two infinite ones are equal."""
    if math.isinf(own) or math.isinf(other):
        return 0.0 if own == other else math.copysign(math.log(4.0), own - other)
    return math.log(max(own, 1.0) / max(other, 1.0))
