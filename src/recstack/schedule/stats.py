"""What a dispatcher has done so far: counts, and a latency histogram per stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from recstack import _native

SHARES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class LatencyStats:
    """A histogram in short; percentiles are within 0.8%.

    percentiles: by share, such as 0.95; 0 where nothing was recorded.
    histogram: the whole of it: `percentile(share)`, `at_most(limit)`, `merge(other)`.
    """

    count: int
    mean: float
    max: int
    percentiles: Mapping[float, int]
    histogram: _native.HistogramSnapshot


@dataclass(frozen=True, slots=True)
class Stats:
    """Since the dispatcher was made.

    counters: queries accepted, completed, failed and refused (queue_full, deadline, shutting_down);
        rows, batches and merged_batches run, busy_ns of all lanes in them, split_queries;
        waiting_queries, waiting_rows, busy_lanes and lanes_out (of service, because batch after
        batch failed) are of this moment; lane_outages: how often a lane was taken out.
    stages_ns: by stage (queue, assemble, execute, gather, total), of queries that ended "ok".
    batch_rows: rows of the batches run.
    """

    counters: Mapping[str, int]
    stages_ns: Mapping[str, LatencyStats]
    batch_rows: LatencyStats

    def stages_record(self) -> dict[str, dict[str, float]]:
        """Each stage's count, mean and percentiles, as a part of a result file's record."""
        return {
            name: {"count": s.count, "mean_ns": s.mean,
                   **{f"p{100 * share:g}_ns": s.percentiles[share] for share in (0.5, 0.95, 0.99)}}
            for name, s in self.stages_ns.items()
        }  # fmt: skip


def stats_of(dispatcher: _native.Dispatcher) -> Stats:
    """Counters and histograms of a native dispatcher."""
    raw = dispatcher.stats()
    return Stats(
        counters=raw["counters"],
        stages_ns={name: summary(histogram) for name, histogram in raw["stages_ns"].items()},
        batch_rows=summary(raw["batch_rows"]),
    )


def summary(histogram: _native.HistogramSnapshot) -> LatencyStats:
    """A histogram in short.

    >>> histogram = _native.Histogram()
    >>> for value in range(1, 101):
    ...     histogram.record(value)
    >>> summary(histogram.snapshot()).percentiles[0.5]
    50
    """
    return LatencyStats(
        count=histogram.count,
        mean=histogram.sum / histogram.count if histogram.count else 0.0,
        max=histogram.max,
        percentiles={share: histogram.percentile(share) for share in SHARES},
        histogram=histogram,
    )
