"""The null system: answers at once. What it shows is the generator's own share of a latency."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recstack.batch import Batch
from recstack.clock import RealClock
from recstack.loadtest import driver, metrics, traffic
from recstack.loadtest.outcome import LoadResult
from recstack.quantiles import quantile
from recstack.types import SUT, Clock, Completion, Query

_Job = tuple[Query, Callable[[Completion], None]]


class NullSUT:
    """Answers with zeros at once, from the issuing thread or from a thread of its own.

    Parameters
    ----------
    threaded: answer from a second thread, which adds a hand-over between threads.
    clock: dates the completions.
    """

    def __init__(self, *, threaded: bool = False, clock: Clock | None = None) -> None:
        self._clock = RealClock() if clock is None else clock
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._work, daemon=True) if threaded else None
        if self._thread:
            self._thread.start()

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        """Answer, or hand over to the thread; refused after `close`."""
        if self._closed:
            done(Completion(query.id, "shutting_down", self._clock.now_ns()))
        elif self._thread:
            self._jobs.put((query, done))
        else:
            self._answer(query, done)

    def close(self) -> None:
        """Answer what was handed over and end the thread."""
        self._closed = True
        if self._thread:
            self._jobs.put(None)
            self._thread.join(timeout=10.0)

    def _work(self) -> None:
        while job := self._jobs.get():
            self._answer(*job)

    def _answer(self, query: Query, done: Callable[[Completion], None]) -> None:
        scores = np.zeros((query.batch.rows, 1), np.float32)
        done(Completion(query.id, "ok", self._clock.now_ns(), scores))


def empty_query(index: int, rows: int) -> Query:
    """A query of so many rows and no features.

    >>> empty_query(0, 3).batch.rows
    3
    """
    return Query(
        index,
        Batch(
            dense=np.zeros((rows, 0), np.float32),
            user_dense=np.zeros((1, 0), np.float32),
            values=np.zeros(0, np.int32),
            lengths=np.zeros((0, rows), np.int32),
            query_offsets=np.array([0, rows], np.int32),
        ),
    )


@dataclass(frozen=True, slots=True)
class NullLatency:
    """What the generator alone costs at `rate_qps`; measured.

    latency_ns: by system, then p50, p90, p99, p99.9 and most, from the schedule, so the generator's
        lateness is in it. "inline" answers from the issuing thread, "threaded" from a second one.
    """

    rate_qps: float
    queries: int
    latency_ns: Mapping[str, Mapping[str, float]]
    lateness_p99_ns: float

    def to_record(self) -> dict[str, Any]:
        """As a record of a result file."""
        return {
            "origin": "measured",
            "rate_qps": self.rate_qps,
            "queries": self.queries,
            "latency_ns": {name: dict(found) for name, found in self.latency_ns.items()},
            "lateness_p99_ns": self.lateness_p99_ns,
        }


def null_latency(
    rate_qps: float = 2000.0,
    count: int = 2000,
    *,
    seed: int = 0,
    others: Mapping[str, tuple[SUT, Query]] | None = None,
) -> NullLatency:
    """Measure the generator against the null system; goes into every report.

    Takes about count / rate_qps seconds per system.

    others: further systems that do nothing, by name, each with the query to send it, such as a
        dispatcher over an empty model: they show what lies between the generator and a model.

    >>> null_latency(5000.0, 200).latency_ns["inline"]["p50"] > 0
    True
    """
    plan = traffic.make_traffic(rate_qps, count, seed=seed)
    queries = traffic.make_queries(empty_query, plan.rows, per_size=1)
    config = driver.DriverConfig(warmup=count // 10)
    runs = {}
    for name, threaded in (("inline", False), ("threaded", True)):
        sut = NullSUT(threaded=threaded)
        try:
            runs[name] = driver.drive(sut, queries, plan.scheduled_ns, config=config)
        finally:
            sut.close()
    for name, (other, query) in (others or {}).items():
        runs[name] = driver.drive(other, [query] * count, plan.scheduled_ns, config=config)
    late = [
        quantile(metrics.lateness_ns(run).astype(np.float64), 0.99).value for run in runs.values()
    ]
    return NullLatency(rate_qps, count, {k: _spread(run) for k, run in runs.items()}, max(late))


def _spread(run: LoadResult) -> dict[str, float]:
    latency = metrics.latencies_ns(run, answered_only=True)
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
    found = {name: quantile(latency, share).value for name, share in shares.items()}
    return found | {"most": float(latency.max())}
