from __future__ import annotations

from types import MappingProxyType

import numpy as np

from recstack.clock import RealClock
from recstack.loadtest import DriverConfig, drive
from recstack.loadtest.metrics import latencies_ns, lateness_ns
from recstack.loadtest.null import NullSUT, empty_query
from recstack.types import Issued


class Recorded(NullSUT):
    """Says that it issued a schedule, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, object]] = []

    def issue_schedule(self, batches, which, scheduled_ns, **how):
        self.asked.append({"batches": batches, "which": which, **how})
        finished_ns = 1000 + scheduled_ns + 7
        status = np.zeros(scheduled_ns.size, np.uint8)
        finished_ns[-1], status[-1] = -1, 5
        stages = MappingProxyType({"run": np.arange(scheduled_ns.size)})
        return Issued(1000, 1000 + scheduled_ns + 3, finished_ns, status, stages, ("odd",))


def test_times_are_told_since_the_start_and_batches_once() -> None:
    sut, pool = Recorded(), [empty_query(0, 2), empty_query(1, 4)]
    queries = [pool[i] for i in (0, 1, 1, 0)]
    config = DriverConfig(warmup=1, deadline_ns=50, drain_ns=60, lead_ns=70)
    result = drive(sut, queries, np.array([0, 10, 20, 30]), config=config)
    asked = sut.asked.pop()
    assert asked["batches"] == [q.batch for q in pool]
    assert asked.pop("which").tolist() == [0, 1, 1, 0]  # type: ignore[attr-defined]
    del asked["batches"]
    assert asked == {"lead_ns": 70, "deadline_ns": 50, "drain_ns": 60}
    assert result.rows.tolist() == [2, 4, 4, 2]
    assert lateness_ns(result).tolist() == [3, 3, 3]
    assert latencies_ns(result).tolist() == [7, 7, np.inf]
    assert result.finished_ns.tolist() == [7, 17, 27, -1]
    assert result.stages_ns["run"].tolist() == [0, 1, 2, 3]
    assert (result.warmup, result.errors, result.origin) == (1, ("odd",), "measured")


def test_the_caller_may_issue_instead() -> None:
    sut, queries, times = Recorded(), [empty_query(0, 2)] * 3, np.zeros(3, np.int64)
    drive(sut, queries, times, config=DriverConfig(whole=False))
    drive(sut, queries, times, clock=RealClock())
    assert sut.asked == []
    assert drive(sut, queries, times, origin="simulated").origin == "simulated"
    assert len(sut.asked) == 1
