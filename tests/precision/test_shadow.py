from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.precision.monitor import Alarm, Monitor, MonitorConfig
from recstack.precision.shadow import WAITING, Shadow
from recstack.types import Completion, Query


def batch(rows: int = 3) -> Batch:
    return Batch(
        dense=np.full((rows, 1), 0.5, np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros((0, rows), np.int32),
        query_offsets=np.array([0, rows], np.int32),
    )


class Direct:
    """Answers at once, `off` beside the dense input."""

    def __init__(self, off: float = 0.0) -> None:
        self.off = off

    def issue(self, query: Query, done: Callable[[Completion], None]) -> None:
        done(Completion(query.id, "ok", 0, query.batch.dense + np.float32(self.off)))

    def stats(self) -> dict[str, float]:
        return {"completed": 1.0}

    def close(self) -> None: ...


def same(given: Batch) -> tuple[np.ndarray, float]:
    return given.dense, 0.0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def test_a_share_is_scored_again_and_all_are_answered() -> None:
    monitor = Monitor(MonitorConfig(share=0.25))
    shadow = Shadow(Direct(), same, monitor, recent=8)
    ended: list[Completion] = []
    for i in range(400):
        shadow.issue(Query(i, batch(), key=str(i)), ended.append)
        if i % 10 == 0:
            time.sleep(0.001)
    shadow.close()
    assert [c.id for c in ended] == list(range(400))
    stats = shadow.stats()
    assert 70 < stats["monitor_drift_samples"] + stats["monitor_passed_over"] < 130
    assert stats["completed"] == 1.0 and stats["monitor_drift_mean"] == 0.0
    assert len(shadow.recent()) == 8


def test_an_alarm_is_told_with_every_sample_from_then_on() -> None:
    told: list[Alarm | None] = []
    shadow = Shadow(Direct(0.2), same, Monitor(MonitorConfig(share=1.0)), on_sample=told.append)
    for i in range(60):
        shadow.issue(Query(i, batch()), lambda completion: None)
    shadow.close()
    raised = [alarm for alarm in told if alarm is not None]
    assert len(told) == 60 and 0 < len(raised) < 60 and told[-1] is raised[0]
    assert raised[0].signal == "drift"


def test_answers_of_a_plan_that_was_replaced_are_no_samples() -> None:
    gate, begun = threading.Event(), threading.Event()

    def slow(given: Batch) -> tuple[np.ndarray, float]:
        begun.set()
        gate.wait(10)
        return same(given)

    def replace(alarm: Alarm | None) -> None:
        if plan.off:
            plan.off = 0.0
            shadow.renew()

    plan = Direct(0.2)
    shadow = Shadow(plan, slow, Monitor(MonitorConfig(share=1.0)), on_sample=replace)
    shadow.issue(Query(0, batch(), key="first"), lambda completion: None)
    assert begun.wait(10)
    for i in range(40):
        shadow.issue(Query(i, batch(), key=f"old/{i}"), lambda completion: None)
    gate.set()
    until(lambda: plan.off == 0.0 and not shadow._samples.unfinished_tasks)
    shadow.issue(Query(0, batch(), key="new"), lambda completion: None)
    shadow.close()
    assert shadow.stats()["monitor_drift_mean"] == 0.0
    assert shadow.stats()["monitor_drift_samples"] == 1
    assert not shadow.label("old/39", np.zeros(3)) and shadow.label("new", np.zeros(3))


def test_an_alarm_that_labels_raised_is_told_with_the_next_sample() -> None:
    told: list[Alarm | None] = []
    monitor = Monitor(MonitorConfig(share=1.0, drift=None, clipping=None, every=11.0))
    shadow = Shadow(Direct(0.2), same, monitor, on_sample=told.append)
    while monitor.alarm is None:
        shadow.issue(Query(0, batch(), key="a"), lambda completion: None)
        until(lambda: "a" in monitor._waiting)
        shadow.label("a", np.zeros(3))
    assert not any(told)
    shadow.issue(Query(0, batch()), lambda completion: None)
    shadow.close()
    assert told[-1] is not None and told[-1].signal == "ne"


def test_a_slow_shadow_holds_nobody_up() -> None:
    gate = threading.Event()

    def slow(given: Batch) -> tuple[np.ndarray, float]:
        gate.wait(10)
        return same(given)

    shadow = Shadow(Direct(), slow, Monitor(MonitorConfig(share=1.0)))
    ended: list[Completion] = []
    for i in range(WAITING + 50):
        shadow.issue(Query(i, batch()), ended.append)
    assert len(ended) == WAITING + 50
    assert shadow.stats()["monitor_passed_over"] >= 49
    gate.set()
    shadow.close()


def test_a_shadow_in_a_hurry_leaves_the_samples_that_wait() -> None:
    gate, seen = threading.Event(), []

    def slow(given: Batch) -> tuple[np.ndarray, float]:
        seen.append(given)
        gate.wait(10)
        return same(given)

    shadow = Shadow(Direct(), slow, Monitor(MonitorConfig(share=1.0)))
    for i in range(2 * WAITING):
        shadow.issue(Query(i, batch()), lambda completion: None)
    until(lambda: bool(seen))
    threading.Timer(0.05, gate.set).start()
    shadow.close(drain=False)
    assert len(seen) == 1


def test_a_shadow_that_fails_is_counted_and_goes_on() -> None:
    def failing(given: Batch) -> tuple[np.ndarray, float]:
        if len(given.dense) == 1:
            raise ValueError("no single rows")
        return same(given)

    errors: list[Exception] = []
    shadow = Shadow(Direct(), failing, Monitor(MonitorConfig(share=1.0)), on_error=errors.append)
    for rows in (1, 2):
        shadow.issue(Query(0, batch(rows)), lambda completion: None)
    shadow.close()
    stats = shadow.stats()
    assert stats["monitor_failed"] == 1 and stats["monitor_drift_samples"] == 1
    assert [str(error) for error in errors] == ["no single rows"]


@pytest.mark.parametrize("key, taken", [("a", True), ("b", False)])
def test_labels_reach_the_monitor(key: str, taken: bool) -> None:
    shadow = Shadow(Direct(), same, Monitor(MonitorConfig(share=1.0)))
    shadow.issue(Query(0, batch(), key="a"), lambda completion: None)
    until(lambda: shadow.stats()["monitor_drift_samples"] == 1)
    assert shadow.label(key, np.zeros(3)) is taken
    shadow.close()
