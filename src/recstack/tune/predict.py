"""A guess at a schedule's QPS@SLA from a cost curve: where to begin, and what to try first.

Modelled and rough: it only orders candidates and sets first rates, every answer is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.loadtest import SLA
from recstack.schedule import Costs, ScheduleConfig

Curve = Mapping[int, float]
"""Rows of a batch -> nanoseconds that one core takes for it."""
# Two cores in one lane do the work of 2 ** this in the same time.
THREADS_EXPONENT = 0.8


class CostModel:
    """Service times between and beyond the rows of a curve, for the query sizes of a sample.

    curve: by plan. rows: (n,) int64 sizes of the queries to come.
    Raises ConfigError when a curve is empty.
    """

    def __init__(self, curves: Mapping[str, Curve], rows: NDArray[np.int64]) -> None:
        if not curves or not all(curves.values()):
            raise ConfigError("expected a cost curve of at least one point for each plan")
        self._curves = {plan: _interpolate(curve) for plan, curve in curves.items()}
        self._rows = rows
        self._there: dict[Costs, NDArray[np.float64]] = {}

    def service_ns(self, plan: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) float64, of batches of so many rows on one core."""
        return self._curves[plan](rows)

    def qps(self, schedule: ScheduleConfig, plan: str, sla: SLA) -> float:
        """The rate at which the percentile meets the limit; 0 where an empty machine misses it.

        All lanes together are one server that works a query of r rows off in the time of its
        chunks' rounds; waiting is M/G/1's (Pollaczek-Khinchine) with an exponential tail. Merging
        is left out. An accelerator is another such server, and the slower of both counts.
        """
        device = schedule.accelerator
        if device is None or device.costs is None or schedule.policy != "fixed":
            return self._cores_qps(schedule, plan, sla, self._rows)
        there = self._rows >= device.threshold_rows
        share = float(there.mean())
        rates = []
        if share < 1.0:
            rates.append(self._cores_qps(schedule, plan, sla, self._rows[~there]) / (1.0 - share))
        if share > 0.0:
            each = self._there_ns(device.costs)[there]
            rates.append(_rate_qps(each / device.lanes, each, sla) / share)
        return min(rates)

    def _there_ns(self, costs: Costs) -> NDArray[np.float64]:
        """(n,) float64, of the sample's queries whole on an accelerator."""
        if costs not in self._there:
            curve = costs.curve()
            sizes, where = np.unique(self._rows, return_inverse=True)
            times = np.array([curve.service_ns(int(rows)) for rows in sizes], np.float64)
            self._there[costs] = times[where]
        return self._there[costs]

    def _cores_qps(
        self, schedule: ScheduleConfig, plan: str, sla: SLA, rows: NDArray[np.int64]
    ) -> float:
        lanes = schedule.lanes
        chunks = np.ceil(rows / schedule.chunk_rows)
        each_rows = np.ceil(rows / chunks).astype(np.int64)
        each = self.service_ns(plan, each_rows) / schedule.threads_per_lane**THREADS_EXPONENT
        return _rate_qps(chunks * each / lanes, np.ceil(chunks / lanes) * each, sla)


def _rate_qps(work_ns: NDArray[np.float64], alone_ns: NDArray[np.float64], sla: SLA) -> float:
    """Of one server that queries take up for `work_ns`; unhindered they end after `alone_ns`."""
    slack = sla.limit_ns - float(np.quantile(alone_ns, sla.percentile / 100.0))
    if slack <= 0:
        return 0.0
    mean = float(work_ns.mean())
    residual = float((work_ns**2).mean() / (2.0 * mean))
    # P(wait > t) = rho exp(-t (1 - rho) / residual), solved for rho at t = slack.
    low, high = 0.0, 1.0
    for _ in range(40):
        rho = (low + high) / 2.0
        over = rho * math.exp(-slack * (1.0 - rho) / residual)
        low, high = (rho, high) if over < sla.allowed else (low, rho)
    return low / mean * 1e9


def _interpolate(curve: Curve) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    rows = np.array(sorted(curve), np.float64)
    times = np.array([curve[int(r)] for r in rows], np.float64)

    def at(wanted: NDArray[np.int64]) -> NDArray[np.float64]:
        inside = np.interp(wanted, rows, times)
        return np.where(wanted > rows[-1], times[-1] * wanted / rows[-1], inside)

    return at
