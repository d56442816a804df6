"""Whole schedules through the native issuer, beside the driver that issues from Python."""

from __future__ import annotations

import _thread
import signal
import threading
import time

import numpy as np
import pytest

from recstack import _native
from recstack.batch import Batch
from recstack.errors import BatchError
from recstack.loadtest import DriverConfig, LoadResult, drive, judge, summarise
from recstack.loadtest.outcome import STATUSES
from recstack.loadtest.sla import SLA
from recstack.schedule import Dispatcher, LoopDispatcher, ScheduleConfig
from recstack.schedule.outcome import STAGES
from recstack.types import Query, ScheduleSUT

MS = 1_000_000
LAYOUT = _native.InputLayout([], [], 1, 0, 1, False)


def sums(dense, user_dense, values, lengths, offsets, weights, begin, end):
    return np.ascontiguousarray(dense[begin:end])


def dispatcher(run=sums, cls=Dispatcher, **config):
    return cls(_native.PythonExecutorFactory(run, LAYOUT), ScheduleConfig(**config))


def query(rows: int, value: float = 0.0) -> Query:
    return Query(
        0,
        Batch(
            dense=np.full((rows, 1), value, np.float32),
            user_dense=np.zeros((1, 0), np.float32),
            values=np.zeros(0, np.int32),
            lengths=np.zeros((0, rows), np.int32),
            query_offsets=np.array([0, rows], np.int32),
        ),
    )


def every(gap_ns: int, n: int) -> np.ndarray:
    return np.arange(n, dtype=np.int64) * gap_ns


def names(result: LoadResult) -> list[str]:
    return [STATUSES[code] for code in result.status]


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("chunk_rows", [3, 64])
def test_both_issuers_leave_the_same_form(whole: bool, chunk_rows: int) -> None:
    pool = [query(rows) for rows in (1, 5, 9)]
    queries = [pool[i % 3] for i in range(60)]
    with dispatcher(chunk_rows=chunk_rows, lanes=2) as sut:
        assert isinstance(sut, ScheduleSUT)
        config = DriverConfig(warmup=10, whole=whole)
        result = drive(sut, queries, every(MS, 60), config=config)
        counters = sut.stats().counters
    assert names(result) == ["ok"] * 60
    assert counters["completed"] == 60
    assert counters["rows"] == result.rows.sum() == 20 * 15
    assert result.rows[:4].tolist() == [1, 5, 9, 1]
    assert (result.issued_ns >= result.scheduled_ns).all()
    assert (result.finished_ns >= result.issued_ns).all()
    assert list(result.stages_ns) == list(STAGES)
    parts = sum(result.stages_ns[name] for name in STAGES[:-1])
    assert (parts == result.stages_ns["total"]).all()
    assert (result.stages_ns["total"] <= result.finished_ns - result.issued_ns).all()
    assert (result.warmup, result.strays, result.errors) == (10, 0, ())
    assert result.origin == "measured"
    for array in (result.issued_ns, result.finished_ns, result.scheduled_ns, result.rows):
        assert array.dtype == np.int64 and array.shape == (60,)
    assert result.status.dtype == np.uint8
    assert summarise(result, SLA(95.0, 10 * MS)).to_record()


def test_a_dispatcher_that_nobody_drains_runs_a_schedule() -> None:
    with dispatcher(cls=LoopDispatcher) as sut:
        assert names(drive(sut, [query(2)] * 5, every(0, 5))) == ["ok"] * 5
        assert sut.drain() == 0


def test_runs_follow_each_other_and_share_the_dispatcher_with_single_queries() -> None:
    ended = threading.Event()
    with dispatcher() as sut:
        for _ in range(3):
            assert names(drive(sut, [query(2)] * 20, every(MS // 10, 20))) == ["ok"] * 20
        sut.issue(query(2), lambda completion: ended.set())
        assert ended.wait(30)
        assert sut.stats().counters["completed"] == 61


def test_lateness_and_latency_count_from_the_schedule_when_a_lane_stalls() -> None:
    """One lane that takes 20 ms each, queries every 1 ms: issued on time all the same."""

    def slow(*args):
        time.sleep(0.02)
        return sums(*args)

    with dispatcher(slow, lanes=1, merge_rows=0) as sut:
        result = drive(sut, [query(1)] * 10, every(MS, 10), config=DriverConfig(warmup=0))
    assert names(result) == ["ok"] * 10
    latency = result.finished_ns - result.scheduled_ns
    assert (latency >= [20 * MS * (i + 1) - i * MS for i in range(10)]).all()
    # Waiting for answers would have issued the last one 180 ms after the first.
    assert result.issued_ns[-1] < result.finished_ns[8]
    late = result.issued_ns - result.scheduled_ns
    reasons = judge(result, SLA(50.0, float(late.max())), lateness_share=1e-9).reasons
    assert any("lateness" in reason for reason in reasons)


class Gate:
    """An executor that stands until it is let go."""

    def __init__(self) -> None:
        self.standing, self.go = threading.Event(), threading.Event()

    def __call__(self, *args):
        self.standing.set()
        assert self.go.wait(30)
        return sums(*args)


def test_a_full_queue_refuses_and_the_unanswered_are_lost() -> None:
    gate = Gate()
    with dispatcher(gate, lanes=1, queue_queries=2, merge_rows=0) as sut:
        config = DriverConfig(warmup=0, drain_ns=20 * MS)
        result = drive(sut, [query(1)] * 8, every(0, 8), config=config)
        assert gate.standing.wait(30)
        assert names(result) == ["lost"] * 3 + ["queue_full"] * 5
        assert (result.finished_ns[:3] == -1).all()
        assert (result.finished_ns[3:] >= result.issued_ns[3:]).all()
        assert result.stages_ns == {}
        before = result.to_record()
        gate.go.set()
        # The earlier run's queries end during this one, which hears nothing of them.
        after = drive(sut, [query(1)] * 2, every(50 * MS, 2), config=DriverConfig(warmup=0))
        assert names(after) == ["ok"] * 2
        assert sut.stats().counters["completed"] == 5
    assert (before["status"] == result.status).all()
    assert (result.finished_ns[:3] == -1).all()


def test_queries_past_their_deadline_are_refused() -> None:
    def slow(*args):
        time.sleep(0.3)  # longer than the deadline of those behind it
        return sums(*args)

    with dispatcher(slow, lanes=1, merge_rows=0) as sut:
        config = DriverConfig(warmup=0, deadline_ns=200 * MS)
        result = drive(sut, [query(1)] * 4, every(0, 4), config=config)
    assert names(result) == ["ok"] + ["deadline"] * 3
    assert (result.stages_ns["total"] >= 0).all()


def test_a_failing_executor_is_told_in_words_once() -> None:
    def fussy(dense, *rest):
        if (dense == 9).any():
            raise ValueError("no nines")
        return sums(dense, *rest)

    queries = [query(2, 9.0 if i % 2 else 1.0) for i in range(10)]
    with dispatcher(fussy, merge_rows=0) as sut:
        result = drive(sut, queries, every(MS, 10), config=DriverConfig(warmup=0))
    assert names(result) == ["ok", "error"] * 5
    assert len(result.errors) == 1 and "no nines" in result.errors[0]


def test_a_closed_dispatcher_refuses_all() -> None:
    sut = dispatcher()
    sut.close()
    result = drive(sut, [query(1)] * 3, every(0, 3), config=DriverConfig(warmup=0))
    assert names(result) == ["shutting_down"] * 3


def test_a_dispatcher_may_go_while_lost_queries_still_run() -> None:
    gate = Gate()
    sut = dispatcher(gate, lanes=1, merge_rows=0)
    drive(sut, [query(1)] * 3, every(0, 3), config=DriverConfig(warmup=0, drain_ns=0))
    release = threading.Timer(0.05, gate.go.set)
    release.start()
    sut.close(drain=False)
    release.join()
    assert sut.stats().counters["shutting_down"] == 2


def test_an_interrupt_ends_a_run_and_the_dispatcher_goes_on(request) -> None:
    # A process that was started in the background ignores interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    begun = threading.Event()

    def tell(*args):
        begun.set()
        return sums(*args)

    def interrupt() -> None:
        # Not before the run: an interrupt within a callback of the garbage collector is swallowed.
        if begun.wait(60):
            _thread.interrupt_main()

    with dispatcher(tell) as sut:
        interrupting = threading.Thread(target=interrupt)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            drive(sut, [query(1)] * 2, every(3_600_000 * MS, 2))
        interrupting.join()
        assert names(drive(sut, [query(1)] * 2, every(0, 2))) == ["ok"] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"dense": np.zeros((3, 1), np.float64)},
        {"dense": np.zeros((2, 1), np.float32)},
        {"lengths": np.zeros((1, 3), np.int32)},
    ],
)
def test_a_batch_that_does_not_fit_is_an_error_before_the_run(change) -> None:
    bad = Query(0, query(3).batch.replace(**change))
    with dispatcher() as sut:
        with pytest.raises(BatchError, match="batch 1 does not fit"):
            drive(sut, [query(3), bad], every(0, 2))
        assert sut.stats().counters["accepted"] == 0


def test_a_schedule_that_does_not_fit_is_an_error() -> None:
    with dispatcher() as sut:
        for which, when in (([1], [0]), ([0], [-1]), ([0, 0], [1, 0]), ([0], [0, 1])):
            with pytest.raises(BatchError):
                sut.issue_schedule(
                    [query(1).batch], np.array(which, np.int32), np.array(when, np.int64)
                )
