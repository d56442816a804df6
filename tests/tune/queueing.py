"""The fixed policy on lanes in virtual time: service times from a table executor, first come first
served, small neighbours merged."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping

import numpy as np

from recstack.engine.table import TableExecutor
from recstack.loadtest import make_traffic, sizes
from recstack.loadtest.search import Measure, Probe, SearchConfig, probe_rate
from recstack.loadtest.sla import SLA
from recstack.tune import Candidate

LARGEST = 1000


def play(
    candidate: Candidate, times_ns: list[float], scheduled: list[int], rows: list[int]
) -> np.ndarray:
    """Latency of each query, ns. times_ns: of a batch of so many rows on one core."""
    schedule = candidate.schedule
    speed = schedule.threads_per_lane**0.7
    free = [0.0] * schedule.lanes
    latency = np.empty(len(rows))
    window = schedule.merge_window_us * 1e3
    i = 0
    while i < len(rows):
        begin, size, chunks = scheduled[i], rows[i], math.ceil(rows[i] / schedule.chunk_rows)
        j = i + 1
        if chunks == 1 and size < schedule.merge_rows:
            until = max(free[0], begin + window)
            while j < len(rows) and scheduled[j] <= until and size + rows[j] <= schedule.merge_rows:
                size, begin, j = size + rows[j], max(begin, scheduled[j]), j + 1
            if size < schedule.merge_rows:
                begin = max(begin, until) if window else begin
        each, end = times_ns[math.ceil(size / chunks)] / speed, 0.0
        for _ in range(chunks):
            end = max(end, max(free[0], begin) + each)
            heapq.heapreplace(free, max(free[0], begin) + each)
        latency[i:j] = end - np.array(scheduled[i:j])
        i = j
    return latency


def table(curve: Mapping[int, int]) -> list[float]:
    """Times of every batch size up to the largest, as the table executor would take."""
    executor = TableExecutor(curve)
    return [0.0, *(float(executor.service_time_ns(n)) for n in range(1, LARGEST + 1))]


class Counted:
    """A prober over plans' curves that counts its runs and probes."""

    def __init__(
        self,
        curves: Mapping[str, Mapping[int, int]],
        sla: SLA,
        config: SearchConfig,
        queries: int = 800,
    ) -> None:
        self._tables = {plan: table(curve) for plan, curve in curves.items()}
        self._sla, self._config, self._queries = sla, config, queries
        self.probes = self.runs = 0

    def measure(self, candidate: Candidate) -> Measure:
        def measure(qps: float, seed: int) -> np.ndarray:
            self.runs += 1
            plan = make_traffic(qps, self._queries, seed=seed, distribution=sizes.Production())
            times = self._tables[candidate.plan]
            return play(candidate, times, plan.scheduled_ns.tolist(), plan.rows.tolist())

        return measure

    def __call__(self, candidate: Candidate, rate_qps: float, seed: int) -> Probe:
        self.probes += 1
        config = SearchConfig(
            start_qps=rate_qps, min_qps=rate_qps, max_qps=rate_qps, seed=seed,
            runs=self._config.runs, confidence=self._config.confidence,
        )  # fmt: skip
        return probe_rate(self.measure(candidate), rate_qps, self._sla, config)


def curve(time_us: Callable[[int], float]) -> dict[int, int]:
    """A recorded curve: microseconds at powers of two and at the largest query."""
    return {n: round(1e3 * time_us(n)) for n in (1, 4, 16, 64, 128, 256, 512, LARGEST)}
