"""Counts and histograms of the request path: plain numbers, written on the loop's thread only."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field

TIME_BOUNDS_NS = (*(m * 10**e for e in range(4, 10) for m in (1, 2, 5)), 10**10)
ROW_BOUNDS = tuple(1 << e for e in range(13))


class Histogram:
    """Counts of values up to each bound, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0

    def add(self, value: int) -> None:
        """Count one value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[int | None, int]]:
        """(bound, values up to it), the last bound None for infinity."""
        pairs: list[tuple[int | None, int]] = []
        running = 0
        for bound, count in zip((*self._bounds, None), self.counts, strict=True):
            running += count
            pairs.append((bound, running))
        return pairs


def _times() -> Histogram:
    return Histogram(TIME_BOUNDS_NS)


@dataclass(slots=True)
class ModelMetrics:
    """What one model's requests did.

    replies: by HTTP status. stages: durations in ns by stage, the server's own `decode` and
    `encode` beside those that the SUT reports. ok, failed: time in ns of whole requests. rows: of
    all that were decoded; scored: of those that were answered with scores.
    """

    replies: Counter[int] = field(default_factory=Counter)
    stages: dict[str, Histogram] = field(default_factory=dict)
    ok: Histogram = field(default_factory=_times)
    failed: Histogram = field(default_factory=_times)
    rows: Histogram = field(default_factory=lambda: Histogram(ROW_BOUNDS))
    scored: int = 0
    queries: int = 0
    in_flight: int = 0
    last_inference_ms: int = 0

    def stage(self, name: str, duration_ns: int) -> None:
        """Count one duration of a stage."""
        histogram = self.stages.get(name)
        if histogram is None:
            histogram = self.stages[name] = Histogram(TIME_BOUNDS_NS)
        histogram.add(duration_ns)


@dataclass(slots=True)
class Metrics:
    """What the whole server did. other: replies by HTTP status that concern no model's infer."""

    models: dict[str, ModelMetrics]
    other: Counter[int] = field(default_factory=Counter)
