"""The dispatcher through Python, with executors written in Python."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest

from recstack import _native
from recstack.batch import Batch, DenseInput, SparseInput, check
from recstack.errors import BatchError, ConfigError
from recstack.schedule import AcceleratorConfig, Dispatcher, LoopDispatcher, ScheduleConfig
from recstack.types import Completion, Query

INPUTS = (
    DenseInput(name="d", width=3),
    DenseInput(name="u", width=2, scope="user"),
    SparseInput(name="ragged", length=4),
    SparseInput(name="fixed", length=2, fixed=True),
    SparseInput(name="history", length=5, scope="user"),
)


def layout(outputs=1, weighted=False):
    return _native.InputLayout([False, False, True], [0, 2, 0], 3, 2, outputs, weighted)


def score(dense, user_dense, values, lengths, query_offsets, weights, begin, end):
    """One number per row that depends on all its inputs."""
    rows, queries = query_offsets[-1], query_offsets.size - 1
    of_row = np.repeat(np.arange(queries), np.diff(query_offsets))
    out = dense.sum(1) + 10 * user_dense.sum(1)[of_row]
    used = values if weights is None else values * weights
    bag, value = 0, 0
    for f, entries in enumerate((rows, rows, queries)):
        own = lengths[bag : bag + entries]
        pooled = np.zeros(entries)
        owners = np.repeat(np.arange(entries), own)
        np.add.at(pooled, owners, used[value : value + own.sum()])
        out = out + (f + 1) * (pooled[of_row] if f == 2 else pooled)
        bag, value = bag + entries, value + own.sum()
    return out[begin:end, None].astype(np.float32)


def batch_of(rows, seed, dtype=np.int32):
    rng = np.random.default_rng(seed)
    lengths = np.concatenate(
        [rng.integers(0, 5, rows), np.full(rows, 2), rng.integers(0, 6, 1)]
    ).astype(np.int32)
    batch = Batch(
        dense=rng.integers(0, 9, (rows, 3)).astype(np.float32),
        user_dense=rng.integers(0, 9, (1, 2)).astype(np.float32),
        values=rng.integers(0, 50, lengths.sum()).astype(dtype),
        lengths=lengths,
        query_offsets=np.array([0, rows], np.int32),
    )
    check(INPUTS, batch)
    return batch


def expected(batch):
    return score(
        batch.dense, batch.user_dense, batch.values, batch.lengths, batch.query_offsets,
        batch.weights, 0, batch.rows,
    )  # fmt: skip


class Inbox:
    def __init__(self):
        self.completions: dict[int, Completion] = {}
        self._changed = threading.Condition()

    def done(self, completion):
        with self._changed:
            assert completion.id not in self.completions
            self.completions[completion.id] = completion
            self._changed.notify_all()

    def wait(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.completions) >= count, 30)


class Gated:
    """An executor whose runs stand still until `go`; `started` once one does."""

    def __init__(self, run=score):
        self._run = run
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, *args):
        self.started.set()
        assert self.go.wait(30)
        return self._run(*args)


def factory(run=score, **kwargs):
    return _native.PythonExecutorFactory(run, layout(**kwargs))


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("chunk_rows", "merge_rows"), [(3, 0), (64, 64), (8, 20)])
def test_split_and_merged_scores_equal_a_plain_run(chunk_rows, merge_rows, dtype):
    inbox = Inbox()
    queries = [Query(i, batch_of(1 + 7 * i % 23, i, dtype)) for i in range(60)]
    config = ScheduleConfig(lanes=3, chunk_rows=chunk_rows, merge_rows=merge_rows)
    with Dispatcher(factory(), config) as dispatcher:
        for query in queries:
            dispatcher.issue(query, inbox.done)
        inbox.wait(len(queries))
        stats = dispatcher.stats()
    for query in queries:
        completion = inbox.completions[query.id]
        assert completion.status == "ok"
        np.testing.assert_array_equal(completion.scores, expected(query.batch))
        stages = dict(completion.stages_ns)
        assert stages.pop("total") == sum(stages.values())
    assert stats.counters["completed"] == stats.stages_ns["total"].count == len(queries)
    assert stats.counters["rows"] == sum(q.batch.rows for q in queries)
    assert bool(stats.counters["split_queries"]) == (chunk_rows < 23)
    assert stats.batch_rows.max <= max(chunk_rows, merge_rows)


def test_an_error_keeps_its_words_and_hurts_nobody_else():
    def dislike(dense, *args):
        if (dense == 99).any():
            raise ValueError("99 is not a number I like")
        return score(dense, *args)

    fussy = Gated(dislike)
    inbox = Inbox()
    batches = [batch_of(2, seed) for seed in range(6)]
    batches[3].dense[1, 1] = 99
    config = ScheduleConfig(merge_rows=64)
    with Dispatcher(factory(fussy), config, explain=lambda q, f: f"{q.id}: {f}") as dispatcher:
        dispatcher.issue(Query(0, batches[0]), inbox.done)
        assert fussy.started.wait(30)
        for i, batch in enumerate(batches[1:], start=1):
            dispatcher.issue(Query(i, batch), inbox.done)
        fussy.go.set()
        inbox.wait(6)
        assert dispatcher.stats().counters["merged_batches"] == 1
    for i, batch in enumerate(batches):
        completion = inbox.completions[i]
        if i == 3:
            assert (completion.status, completion.scores) == ("error", None)
            assert completion.error.startswith("3: ")
            assert "99 is not a number I like" in completion.error
        else:
            np.testing.assert_array_equal(completion.scores, expected(batch))


def test_an_explanation_that_raises_keeps_no_query_from_ending():
    inbox = Inbox()
    with Dispatcher(factory(lambda *_: None), explain=lambda q, f: str(1 / 0)) as dispatcher:
        dispatcher.issue(Query(1, batch_of(3, 0)), inbox.done)
        inbox.wait(1)
    assert inbox.completions[1].status == "error"
    assert "ZeroDivisionError" in inbox.completions[1].error


@pytest.mark.parametrize(
    ("result", "words"),
    [(None, "float32"), (np.zeros(3, np.float64), "float32"), (np.zeros(4, np.float32), "got 4")],
)
def test_scores_of_the_wrong_kind_fail_the_query(result, words):
    inbox = Inbox()
    with Dispatcher(factory(lambda *_: result)) as dispatcher:
        dispatcher.issue(Query(1, batch_of(3, 0)), inbox.done)
        inbox.wait(1)
    assert inbox.completions[1].status == "error"
    assert words in inbox.completions[1].error


def test_refusals_are_told_at_once():
    slow = Gated()
    inbox = Inbox()
    dispatcher = Dispatcher(factory(slow), ScheduleConfig(queue_queries=1, merge_rows=0))
    batch = batch_of(2, 0)
    dispatcher.issue(Query(0, batch), inbox.done)
    assert slow.started.wait(30)
    now_ns = time.monotonic_ns()
    dispatcher.issue(Query(1, batch, deadline_ns=now_ns), inbox.done)
    dispatcher.issue(Query(2, batch, deadline_ns=now_ns + 200_000_000), inbox.done)
    dispatcher.issue(Query(3, batch), inbox.done)
    assert {i: c.status for i, c in inbox.completions.items()} == {1: "deadline", 3: "queue_full"}
    inbox.wait(3)  # the lane stands still, and yet the one that waits hears of its deadline
    assert inbox.completions[2].status == "deadline"
    slow.go.set()
    dispatcher.close()
    dispatcher.close()
    dispatcher.issue(Query(4, batch), inbox.done)
    assert {i: c.status for i, c in inbox.completions.items()} == {
        0: "ok", 1: "deadline", 2: "deadline", 3: "queue_full", 4: "shutting_down",
    }  # fmt: skip
    counters = dispatcher.stats().counters
    assert (counters["deadline"], counters["queue_full"], counters["shutting_down"]) == (2, 1, 1)


def test_closing_without_drain_ends_what_waits():
    slow = Gated()
    inbox = Inbox()
    dispatcher = Dispatcher(factory(slow), ScheduleConfig(merge_rows=0))
    for i in range(5):
        dispatcher.issue(Query(i, batch_of(2, i)), inbox.done)
    assert slow.started.wait(30)
    threading.Timer(0.05, slow.go.set).start()
    dispatcher.close(drain=False)
    statuses = [inbox.completions[i].status for i in range(5)]
    assert statuses == ["ok"] + ["shutting_down"] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"lengths": np.array([1, 1, 2, 2, -1], np.int32)},
        {"lengths": np.array([1, 1, 2, 2, 9], np.int32)},
        {"values": np.zeros(3, np.float32)},
        {"dense": np.zeros((1, 3), np.float32)},
        {"dense": np.zeros((2, 6), np.float32)[:, ::2]},
        {"query_offsets": np.array([0, 5], np.int32)},
        {"query_offsets": np.zeros(0, np.int32)},
        {"query_offsets": np.array([0, -1], np.int32)},
        {"query_offsets": [0, 2]},
        {"query_offsets": np.array(2, np.int32)},
        {"dense": np.zeros(25, np.uint8)[1:].view(np.float32).reshape(2, 3)},
    ],
)
def test_arrays_that_do_not_fit_are_refused(wrong):
    with Dispatcher(factory()) as dispatcher:
        with pytest.raises(BatchError, match="does not fit"):
            dispatcher.issue(Query(0, batch_of(2, 0).replace(**wrong)), lambda _: None)
        assert dispatcher.stats().counters["accepted"] == 0


@pytest.mark.parametrize("deadline_ns", [-(2**80), -1, 0, 1, 2**63 - 2, 2**63 - 1, 2**80])
def test_any_deadline_is_past_or_to_come(deadline_ns):
    inbox = Inbox()
    with Dispatcher(factory()) as dispatcher:
        dispatcher.issue(Query(0, batch_of(2, 0), deadline_ns), inbox.done)
        inbox.wait(1)
    assert inbox.completions[0].status == ("ok" if deadline_ns > 1 else "deadline")


def test_weights_are_merged_too():
    slow = Gated()
    inbox = Inbox()
    batches = [batch_of(4, i) for i in range(5)]
    batches = [b.replace(weights=np.arange(b.values.size, dtype=np.float32)) for b in batches]
    with Dispatcher(factory(slow, weighted=True)) as dispatcher:
        for i, batch in enumerate(batches):
            dispatcher.issue(Query(i, batch), inbox.done)
            assert slow.started.wait(30)
        slow.go.set()
        inbox.wait(5)
        with pytest.raises(BatchError):
            dispatcher.issue(Query(9, batch_of(4, 0)), inbox.done)
        assert dispatcher.stats().counters["merged_batches"] == 1
    for i, batch in enumerate(batches):
        np.testing.assert_array_equal(inbox.completions[i].scores, expected(batch))


def test_an_event_loop_drains():
    async def main():
        loop = asyncio.get_running_loop()
        queries = [Query(i, batch_of(1 + i % 5, i)) for i in range(40)]
        with LoopDispatcher(factory(), ScheduleConfig(lanes=2)) as dispatcher:
            loop.add_reader(dispatcher.fileno(), dispatcher.drain)
            futures = [loop.create_future() for _ in queries]
            for query, future in zip(queries, futures, strict=True):
                dispatcher.issue(query, future.set_result)
            completions = await asyncio.wait_for(asyncio.gather(*futures), 30)
            loop.remove_reader(dispatcher.fileno())
        for query, completion in zip(queries, completions, strict=True):
            np.testing.assert_array_equal(completion.scores, expected(query.batch))

    asyncio.run(main())


def test_a_done_that_raises_does_not_stop_the_others(monkeypatch):
    reported = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_value))
    inbox = Inbox()

    def bad(completion):
        raise RuntimeError(f"no room for {completion.id}")

    with Dispatcher(factory()) as dispatcher:
        dispatcher.issue(Query(0, batch_of(2, 0)), bad)
        dispatcher.issue(Query(1, batch_of(2, 1)), inbox.done)
        inbox.wait(1)
    assert [str(error) for error in reported] == ["no room for 0"]


def test_arrays_are_kept_alive_and_then_let_go():
    slow = Gated()
    inbox = Inbox()
    with Dispatcher(factory(slow)) as dispatcher:
        batch = batch_of(500, 1)
        want, watched = expected(batch), weakref.ref(batch.values)
        dispatcher.issue(Query(0, batch), inbox.done)
        del batch
        assert slow.started.wait(30)
        gc.collect()
        assert watched() is not None
        slow.go.set()
        inbox.wait(1)
    np.testing.assert_array_equal(inbox.completions[0].scores, want)
    gc.collect()
    assert watched() is None


def test_threads_issue_at_once():
    inbox = Inbox()
    batches = [batch_of(1 + i, i) for i in range(16)]
    config = ScheduleConfig(lanes=2, chunk_rows=6, merge_rows=12, queue_queries=100_000)

    def issue(first):
        for i in range(first, first + 200):
            dispatcher.issue(Query(i, batches[i % 16]), inbox.done)

    with Dispatcher(factory(), config) as dispatcher:
        threads = [threading.Thread(target=issue, args=(200 * t,)) for t in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(inbox.completions) == 800
    wants = [expected(batch) for batch in batches]
    for i, completion in inbox.completions.items():
        np.testing.assert_array_equal(completion.scores, wants[i % 16])


OPEN_DISPATCHER = """
import os, sys
import numpy as np
from recstack import _native
from recstack.batch import Batch
from recstack.schedule import Dispatcher, ScheduleConfig
from recstack.types import Query
layout = _native.InputLayout([], [], 1, 0, 1, False)
factory = _native.PythonExecutorFactory(lambda dense, *rest: dense[rest[-2] : rest[-1]], layout)
dispatcher = Dispatcher(factory, ScheduleConfig(lanes=2, chunk_rows=1))
empty = np.zeros(0, np.int32)
batch = Batch(np.ones((50, 1), np.float32), np.zeros((1, 0), np.float32), empty,
              np.zeros((0, 50), np.int32), np.array([0, 50], np.int32))
for i in range(100):
    dispatcher.issue(Query(i, batch), lambda completion: None)
"""
AND_FORK = """
dispatcher.close()
dispatcher = Dispatcher(factory)
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize("then", ["", AND_FORK], ids=["", "and forks"])
def test_a_dispatcher_that_nobody_closes_does_not_hang_the_interpreter(then):
    done = subprocess.run(
        [sys.executable, "-c", OPEN_DISPATCHER + then],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert then or not done.stderr  # the child keeps what its parent's threads used


def test_executors_of_two_layouts_are_refused():
    with pytest.raises(ValueError, match="one input layout"):
        _native.Dispatcher(
            [factory(), factory(outputs=2)], [[], []], _native.FixedPolicy(8), 8, 8, 0
        )


def test_cores_that_do_not_exist_are_reported():
    inbox = Inbox()
    with Dispatcher(factory(), ScheduleConfig(cores=((4000,),))) as dispatcher:
        assert len(dispatcher.pin_errors) == 1
        assert "4000" in dispatcher.pin_errors[0]
        dispatcher.issue(Query(0, batch_of(2, 0)), inbox.done)
        inbox.wait(1)


def test_a_new_chunk_size_holds_for_what_waits_already():
    slow = Gated()
    inbox = Inbox()
    config = ScheduleConfig(chunk_rows=4, merge_rows=0)
    with Dispatcher(factory(slow), config) as dispatcher:
        first, second = batch_of(3, 0), batch_of(16, 1)
        dispatcher.issue(Query(0, first), inbox.done)
        assert slow.started.wait(30)
        dispatcher.issue(Query(1, second), inbox.done)
        dispatcher.reconfigure(config.model_copy(update={"chunk_rows": 16}))
        slow.go.set()
        inbox.wait(2)
        assert dispatcher.stats().counters["batches"] == 2
        assert dispatcher.config.chunk_rows == 16
        for change in ({"lanes": 2}, {"order": "deadline"}):
            with pytest.raises(ConfigError, match="chunk_rows"):
                dispatcher.reconfigure(dispatcher.config.model_copy(update=change))
    np.testing.assert_array_equal(inbox.completions[1].scores, expected(second))


def test_overload_is_refused_early_and_what_is_answered_is_in_time():
    def sleep(*args):
        time.sleep(0.004)
        return score(*args)

    limit_ns, gap_ns = 80_000_000, 1_000_000  # twice what two lanes do, or more on a busy machine
    config = ScheduleConfig(lanes=2, cores=(), merge_rows=0)
    with Dispatcher(factory(sleep), config) as dispatcher:
        ran = dispatcher.issue_schedule(
            [batch_of(8, 0)], np.zeros(1000, np.int32), np.arange(1000) * gap_ns,
            deadline_ns=limit_ns,
        )  # fmt: skip
        assert dispatcher.stats().counters["early"] > 100
    took_ns = ran.finished_ns - ran.start_ns - np.arange(1000) * gap_ns
    answered, refused = ran.status == 0, ran.status == 2
    assert (answered | refused).all()
    assert answered.sum() > 50
    assert (took_ns[answered] <= limit_ns).mean() > 0.8
    assert np.quantile(took_ns[refused], 0.95) <= limit_ns


def test_a_trace_says_which_lane_ran_what_and_busy_time_adds_up():
    batches = [batch_of(rows, seed) for seed, rows in enumerate((3, 20, 9))]
    config = ScheduleConfig(lanes=2, cores=(), chunk_rows=8, merge_rows=0)
    with Dispatcher(factory(), config) as dispatcher:
        dispatcher.begin_trace(100)
        ran = dispatcher.issue_schedule(
            batches, np.array([0, 1, 2, 1], np.int32), np.arange(4) * 1_000_000
        )
        traced = dispatcher.traced()
        busy_ns = dispatcher.stats().counters["busy_ns"]
        dispatcher.begin_trace(1)
        dispatcher.issue_schedule(batches, np.array([1], np.int32), np.zeros(1, np.int64))
        assert len(dispatcher.traced()) == 1
    query, lane, start_ns, end_ns, row, row_end = traced.T
    for i, rows in enumerate((3, 20, 9, 20)):
        own = query == i
        assert sorted(zip(row[own], row_end[own], strict=True))[-1][1] == rows
        assert (row_end - row)[own].sum() == rows
        assert (start_ns[own] >= ran.issued_ns[i]).all()
        assert (end_ns[own] <= ran.finished_ns[i]).all()
    assert set(lane) <= {0, 1}
    assert busy_ns == (end_ns - start_ns).sum()


def test_a_window_is_the_difference_of_two_snapshots():
    histogram = _native.Histogram()
    for value in (10, 20, 30):
        histogram.record(value)
    earlier = histogram.snapshot()
    for value in (40, 50):
        histogram.record(value)
    window = histogram.snapshot()
    window.subtract(earlier)
    assert (window.count, window.sum, window.percentile(0.5)) == (2, 90, 40)


def with_a_device(run, policy_rows=10):
    """One core, and a device that takes queries of so many rows."""
    config = ScheduleConfig(
        merge_rows=0, accelerator=AcceleratorConfig(threshold_rows=policy_rows), cores=()
    )
    return LoopDispatcher(factory(), config, accelerators=[factory(run)])


def test_a_device_that_died_loses_a_few_queries_and_the_cores_take_over():
    def dead(*arrays):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    with with_a_device(dead) as dispatcher:
        run = dispatcher.issue_schedule(
            [batch_of(20, 1)], np.zeros(60, np.int32), np.arange(60) * 1_000_000
        )
        counters = dispatcher.stats().counters
    assert (run.status == 0).sum() >= 55
    assert counters["lane_outages"] >= 1 and counters["lanes_out"] in (0, 1)


def test_a_device_that_refuses_bad_batches_stays():
    def strict(*arrays):
        raise BatchError("expected an index in [0, 5), got 7")

    with with_a_device(strict) as dispatcher:
        run = dispatcher.issue_schedule(
            [batch_of(20, 1)], np.zeros(20, np.int32), np.zeros(20, np.int64)
        )
        counters = dispatcher.stats().counters
    assert (run.status != 0).all() and counters["lane_outages"] == 0
    assert "BatchError: expected an index in [0, 5), got 7" in run.errors[0]
