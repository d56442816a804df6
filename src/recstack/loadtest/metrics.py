"""Metrics of a load run, computed from its raw arrays after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.loadtest.outcome import OK, STATUSES, LoadResult
from recstack.loadtest.sla import SLA
from recstack.quantiles import Quantile, quantile
from recstack.types import Origin

PERCENTILES = (50.0, 90.0, 95.0, 99.0, 99.9)


def latencies_ns(result: LoadResult, *, answered_only: bool = False) -> NDArray[np.float64]:
    """Latency from the *scheduled* arrival, without warm-up, in arrival order.

    A query that was refused, failed or lost counts as infinite: leaving it out would let a system
    meet any percentile by refusing the rest. `answered_only` leaves those out all the same, to look
    at what was admitted.

    Returns
    -------
    (m,) float64 nanoseconds.
    """
    latency = np.where(
        result.status == OK, (result.finished_ns - result.scheduled_ns).astype(np.float64), np.inf
    )[result.warmup :]
    return latency[np.isfinite(latency)] if answered_only else latency


def lateness_ns(result: LoadResult) -> NDArray[np.int64]:
    """How long after its scheduled time the generator issued each query; (m,) int64, no warm-up."""
    return (result.issued_ns - result.scheduled_ns)[result.warmup :]


def span_s(result: LoadResult) -> float:
    """Seconds from the first arrival after warm-up to the last arrival or answer."""
    first = int(result.scheduled_ns[result.warmup])
    last = max(int(result.scheduled_ns[-1]), int(result.finished_ns[result.warmup :].max()))
    return max(last - first, 1) / 1e9


def offered_qps(result: LoadResult) -> float:
    """The rate of the schedule: gaps per second after warm-up; 0 for a single query."""
    times = result.scheduled_ns[result.warmup :]
    return (times.size - 1) / max((int(times[-1]) - int(times[0])) / 1e9, 1e-9)


def achieved_qps(result: LoadResult) -> float:
    """Queries answered per second, warm-up left out."""
    return float((result.status[result.warmup :] == OK).sum()) / span_s(result)


def goodput_qps(result: LoadResult, limit_ns: int) -> float:
    """Queries answered within `limit_ns` of their scheduled arrival, per second."""
    return float((latencies_ns(result) <= limit_ns).sum()) / span_s(result)


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of a run, warm-up left out; percentiles count unanswered queries as infinite."""

    origin: Origin
    queries: int
    warmup: int
    offered_qps: float
    achieved_qps: float
    goodput_qps: float | None
    rows_per_s: float
    latency_ns: Mapping[float, Quantile]
    stages_p95_ns: Mapping[str, float]
    lateness_p99_ns: float
    statuses: Mapping[str, int]

    def meets(self, sla: SLA) -> bool:
        """Whether the percentile of the SLA that it was summarised for lies within its limit."""
        return bool(self.latency_ns[sla.percentile].value <= sla.limit_ns)

    def to_record(self) -> dict[str, Any]:
        """As a record of a result file; an infinite bound becomes None."""

        def finite(value: float) -> float | None:
            return value if math.isfinite(value) else None

        return {
            "origin": self.origin,
            "queries": self.queries,
            "warmup": self.warmup,
            "offered_qps": self.offered_qps,
            "achieved_qps": self.achieved_qps,
            "goodput_qps": self.goodput_qps,
            "rows_per_s": self.rows_per_s,
            "latency_ns": {
                f"p{p:g}": {
                    "value": finite(q.value),
                    "low": finite(q.low),
                    "high": finite(q.high),
                    "confidence": q.confidence,
                }
                for p, q in self.latency_ns.items()
            },
            "stages_p95_ns": dict(self.stages_p95_ns),
            "lateness_p99_ns": self.lateness_p99_ns,
            "statuses": dict(self.statuses),
        }


def summarise(result: LoadResult, sla: SLA | None = None, confidence: float = 0.95) -> Summary:
    """The figures of a run, goodput only with an SLA; `verdict.judge` says if they hold."""
    latency = latencies_ns(result)
    status, rows = result.status[result.warmup :], result.rows[result.warmup :]
    shares = sorted({*PERCENTILES, *(() if sla is None else (sla.percentile,))})
    stages = {k: v[result.warmup :] for k, v in result.stages_ns.items()}
    counts = np.bincount(status, minlength=len(STATUSES))
    return Summary(
        origin=result.origin,
        queries=int(status.size),
        warmup=result.warmup,
        offered_qps=offered_qps(result),
        achieved_qps=achieved_qps(result),
        goodput_qps=None if sla is None else goodput_qps(result, sla.limit_ns),
        rows_per_s=float(rows[status == OK].sum()) / span_s(result),
        latency_ns={p: quantile(latency, p / 100.0, confidence) for p in shares},
        stages_p95_ns={
            k: quantile(v[v >= 0].astype(np.float64), 0.95).value
            for k, v in stages.items()
            if (v >= 0).any()
        },
        lateness_p99_ns=quantile(lateness_ns(result).astype(np.float64), 0.99).value,
        statuses={s: int(n) for s, n in zip(STATUSES, counts, strict=True) if n},
    )
