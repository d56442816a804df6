from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable

import numpy as np
import pytest

from recstack.clock import FakeClock, RealClock
from recstack.errors import ConfigError
from recstack.loadtest import traffic
from recstack.loadtest.driver import DriverConfig, drive
from recstack.loadtest.metrics import latencies_ns
from recstack.loadtest.null import NullSUT, empty_query
from recstack.loadtest.outcome import STATUSES, LoadResult
from recstack.types import Completion, Query

Done = Callable[[Completion], None]
MS = 1_000_000


class Scripted:
    """Hands each query to a function of the test."""

    def __init__(self, answer: Callable[[Query, Done], None]) -> None:
        self.issue = answer

    def close(self) -> None:
        pass


def every(gap_ns: int, n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) * gap_ns


def queries(n: int) -> list[Query]:
    return traffic.make_queries(empty_query, np.full(n, 3), per_size=1)


def run(
    answer: Callable[[Query, Done], None],
    scheduled_ns: np.ndarray,
    clock: FakeClock,
    **config: int,
) -> LoadResult:
    return drive(
        Scripted(answer),
        queries(scheduled_ns.size),
        scheduled_ns,
        config=DriverConfig(warmup=0, **config),
        clock=clock,
        origin="simulated",
    )


def test_queries_are_issued_at_their_times_whatever_becomes_of_them() -> None:
    clock = FakeClock(7)
    ids: list[int] = []

    def late(query: Query, done: Done) -> None:
        ids.append(query.id)
        done(Completion(query.id, "ok", clock.now_ns() + 50 * MS))

    result = run(late, every(MS, 20), clock)
    assert ids == list(range(20))
    assert (result.issued_ns == result.scheduled_ns).all()
    assert (latencies_ns(result) == 50 * MS).all()
    assert result.origin == "simulated"
    assert (result.rows == 3).all()


def test_latency_counts_from_the_scheduled_time() -> None:
    """Coordinated omission: a system that blocks the generator for 100 ms, queries every 1 ms."""
    clock = FakeClock()

    def stall(query: Query, done: Done) -> None:
        if query.id == 10:
            clock.sleep_until_ns(clock.now_ns() + 100 * MS)
        done(Completion(query.id, "ok", clock.now_ns()))

    result = run(stall, every(MS, 200), clock)
    latency = latencies_ns(result)
    assert latency[9] == 0
    assert latency[10:111].tolist() == [(100 - i) * MS for i in range(101)]
    assert (latency[111:] == 0).all()
    # Dated from the moment of issue, all but one query would look instant.
    assert (result.finished_ns - result.issued_ns > 0).sum() == 1
    assert (result.issued_ns - result.scheduled_ns).max() == 99 * MS


def test_unanswered_queries_are_lost_and_the_wait_is_bounded() -> None:
    clock = FakeClock()

    def some(query: Query, done: Done) -> None:
        if query.id % 4:
            done(Completion(query.id, "ok", clock.now_ns() + 1))

    result = run(some, every(MS, 40), clock, drain_ns=500 * MS)
    lost = np.flatnonzero(result.status == STATUSES.index("lost"))
    assert lost.tolist() == list(range(0, 40, 4))
    assert (result.finished_ns[lost] == -1).all()
    assert np.isinf(latencies_ns(result)[lost]).all()
    assert clock.now_ns() == 5 * MS + 39 * MS + 500 * MS


def test_a_completion_after_the_wait_changes_nothing() -> None:
    clock, kept = FakeClock(), []

    def keep(query: Query, done: Done) -> None:
        kept.append((query, done))

    result = run(keep, every(MS, 3), clock, drain_ns=MS)
    for query, done in kept:
        done(Completion(query.id, "ok", clock.now_ns()))
    assert (result.status == STATUSES.index("lost")).all()


def test_second_and_unknown_completions_are_strays_and_the_first_one_counts() -> None:
    clock = FakeClock()

    def twice(query: Query, done: Done) -> None:
        done(Completion(query.id, "ok", clock.now_ns() + 5))
        done(Completion(query.id, "error", clock.now_ns() + 9))
        done(Completion(query.id + 1000, "ok", clock.now_ns()))

    result = run(twice, every(MS, 10), clock)
    assert result.strays == 20
    assert (latencies_ns(result) == 5).all()


def test_statuses_stages_and_errors_are_kept() -> None:
    clock = FakeClock()
    statuses = ["ok", "queue_full", "deadline", "shutting_down", "error"]

    def mixed(query: Query, done: Done) -> None:
        status = statuses[query.id % 5]
        stages = {"queue": query.id, "run": 7} if status == "ok" else {}
        done(
            Completion(query.id, status, clock.now_ns(), error=f"no {status}", stages_ns=stages)  # type: ignore[arg-type]
        )

    result = run(mixed, every(MS, 10), clock)
    assert [STATUSES[s] for s in result.status] == statuses * 2
    assert result.stages_ns["queue"].tolist() == [0, -1, -1, -1, -1, 5, -1, -1, -1, -1]
    assert set(result.errors) == {f"no {s}" for s in statuses}
    assert np.isinf(latencies_ns(result)).sum() == 8


def test_an_exception_from_issue_is_an_error_and_the_run_goes_on() -> None:
    clock = FakeClock()

    def broken(query: Query, done: Done) -> None:
        if query.id == 2:
            raise OSError("gone")
        done(Completion(query.id, "ok", clock.now_ns()))

    result = run(broken, every(MS, 5), clock)
    assert [STATUSES[s] for s in result.status] == ["ok", "ok", "error", "ok", "ok"]
    assert result.errors == ("issue raised OSError('gone')",)


def test_deadlines_count_from_the_scheduled_time() -> None:
    clock, seen = FakeClock(1000), []

    def note(query: Query, done: Done) -> None:
        seen.append(query.deadline_ns)
        done(Completion(query.id, "ok", clock.now_ns()))

    run(note, every(MS, 3), clock, deadline_ns=7)
    assert seen == [1000 + 5 * MS + i * MS + 7 for i in range(3)]


def test_completions_may_come_from_many_threads_at_once() -> None:
    """Eight threads finish every query twice between them, in any order."""
    n, kept = 2000, []
    go = threading.Barrier(8)

    def answer(turn: int) -> None:
        go.wait(timeout=10)
        for query, done in kept[turn % 4 :: 4]:
            done(Completion(query.id, "ok", clock.now_ns(), stages_ns={"run": query.id}))

    threads = [threading.Thread(target=answer, args=(i,)) for i in range(8)]

    def collect(query: Query, done: Done) -> None:
        kept.append((query, done))
        if query.id == n - 1:
            for thread in threads:
                thread.start()

    clock = RealClock()
    result = drive(
        Scripted(collect),
        queries(n),
        np.zeros(n, np.int64),
        config=DriverConfig(warmup=0, drain_ns=10_000 * MS),
    )
    for thread in threads:
        thread.join(timeout=10)
    assert (result.status == 0).all()
    assert (result.finished_ns >= result.issued_ns).all()
    assert result.stages_ns["run"].tolist() == list(range(n))
    assert result.strays <= n  # the second ones that came before the last first one


def test_warm_up_is_given_or_found() -> None:
    def cold(query: Query, done: Done) -> None:
        slow = (500 - query.id) * MS if query.id < 100 else query.id % 7
        done(Completion(query.id, "ok", clock.now_ns() + slow))

    clock = FakeClock()
    found = drive(Scripted(cold), queries(1000), every(MS, 1000), clock=clock)
    assert 100 <= found.warmup <= 250
    assert latencies_ns(found).max() == 6
    given = drive(
        Scripted(cold), queries(10), every(MS, 10), clock=clock, config=DriverConfig(warmup=4)
    )
    assert given.warmup == 4 and latencies_ns(given).size == 6


@pytest.mark.parametrize("enabled", [True, False])
def test_collection_and_thread_switching_are_restored(enabled: bool) -> None:
    def raising(query: Query, done: Done) -> None:
        assert not gc.isenabled()
        assert sys.getswitchinterval() == pytest.approx(0.0001)
        raise KeyboardInterrupt

    interval = sys.getswitchinterval()
    was = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with pytest.raises(KeyboardInterrupt):
            run(raising, every(MS, 5), FakeClock())
        assert gc.isenabled() == enabled
        assert gc.get_freeze_count() == 0
        assert sys.getswitchinterval() == interval
    finally:
        gc.enable() if was else gc.disable()


@pytest.mark.parametrize(
    ("scheduled", "config", "message"),
    [
        (every(MS, 3), {}, "got 5 and 3"),
        (every(MS, 5)[::-1].copy(), {}, "ascend"),
        (every(MS, 5) - 1, {}, "ascend from 0"),
        (every(MS, 5).astype(np.int32), {}, "int64"),
        (every(MS, 5), {"warmup": 5}, "warm-up shorter than 5"),
    ],
)
def test_what_does_not_fit_is_refused(
    scheduled: np.ndarray, config: dict[str, int], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        drive(NullSUT(), queries(5), scheduled, config=DriverConfig(**config))


def test_queries_with_a_deadline_of_their_own_are_refused() -> None:
    query = Query(0, empty_query(0, 1).batch, deadline_ns=5)
    with pytest.raises(ConfigError, match="without a deadline"):
        drive(NullSUT(), [query], np.zeros(1, np.int64))


@pytest.mark.parametrize("field", ["deadline_ns", "warmup", "drain_ns", "lead_ns"])
def test_a_negative_option_is_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        DriverConfig(**{field: -1})  # type: ignore[arg-type]
