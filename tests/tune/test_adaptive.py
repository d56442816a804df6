from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from recstack import _native
from recstack.engine.table import TableExecutor
from recstack.loadtest import drive, make_queries, make_traffic, sizes
from recstack.loadtest.null import empty_query
from recstack.loadtest.sla import SLA, parse
from recstack.schedule import AcceleratorConfig, Dispatcher, LoopDispatcher, ScheduleConfig
from recstack.serve.exposition import expose
from recstack.serve.metrics import Metrics
from recstack.tune import AdaptiveDispatcher, OnlineConfig
from recstack.tune.adaptive import Meter
from recstack.tune.trial import Window
from recstack.types import SUT
from tests.tune.queueing import curve


def sleeping_lanes(schedule: ScheduleConfig) -> Dispatcher:
    """Lanes that take the time of a table: 2 ms for every batch, and a little per row."""
    executor = TableExecutor(curve(lambda n: 2000 + 2.0 * n))

    def run(dense, user_dense, values, lengths, offsets, weights, begin, end):
        time.sleep(executor.service_time_ns(end - begin) / 1e9)
        return np.zeros((end - begin, 1), np.float32)

    layout = _native.InputLayout([], [], 0, 0, 1, False)
    return Dispatcher(_native.PythonExecutorFactory(run, layout), schedule)


def load(sut: SUT, qps: float, count: int, seed: int) -> None:
    plan = make_traffic(qps, count, seed=seed, distribution=sizes.Fixed(64))
    drive(sut, make_queries(empty_query, plan.rows, per_size=1), plan.scheduled_ns)


FAST = OnlineConfig(window_s=0.2, window_queries=30, retry_windows=2)


def adaptive(sla: SLA) -> AdaptiveDispatcher:
    # Eight chunks of 2 ms each on four lanes: hopeless beyond 250 queries/s.
    schedule = ScheduleConfig(lanes=4, cores=(), chunk_rows=8, merge_rows=0)
    return AdaptiveDispatcher(sleeping_lanes(schedule), sla, FAST)


def test_a_running_dispatcher_learns_to_cut_less() -> None:
    sut = adaptive(parse("p95<=10ms"))
    try:
        # Once is enough where the machine does nothing else.
        for seed in range(6):
            load(sut, 220.0, 1000, seed)
            if sut.stats()["adapt_kept"]:
                break
        stats = sut.stats()
    finally:
        sut.close()
    assert stats["adapt_kept"] >= 1
    assert sut.controller.schedule.chunk_rows > 8
    assert stats["completed"] == stats["accepted"] > 0


def test_metrics_show_what_adapting_does() -> None:
    sut = adaptive(parse("p95<=10s"))
    try:
        load(sut, 100.0, 60, 0)
        time.sleep(0.2)
        stats = sut.stats()
        page = expose(Metrics({}), {}, {"m": stats}).decode()
    finally:
        sut.close()
    assert stats["adapt_windows"] >= 1
    assert stats["adapt_trials"] == 0
    assert 'recstack_sut_adapt_windows{model="m"}' in page
    assert 'recstack_sut_chunk_rows{model="m"} 8.0' in page


def test_an_error_is_told_and_adapting_goes_on() -> None:
    said: list[str] = []
    schedule = ScheduleConfig(lanes=1, cores=(), chunk_rows=8, merge_rows=0)
    sut = AdaptiveDispatcher(sleeping_lanes(schedule), parse("p95<=10s"), FAST, say=said.append)
    real, left = sut.controller.step, iter([True, True])

    def step(window: Window) -> ScheduleConfig:
        if next(left, False):
            raise ArithmeticError("planted")
        return real(window)

    sut.controller.step = step  # type: ignore[method-assign]
    try:
        until = time.monotonic() + 20
        while not sut.stats()["adapt_windows"] and time.monotonic() < until:
            load(sut, 200.0, 60, 0)
        stats = sut.stats()
    finally:
        sut.close()
    assert stats["adapt_windows"] >= 1
    assert stats["adapt_errors"] == 2
    assert len(said) == 1 and "planted" in said[0]


def test_the_time_of_a_device_is_shared_among_all_lanes() -> None:
    device = AcceleratorConfig(device="cpu", lanes=1)
    schedule = ScheduleConfig(lanes=1, chunk_rows=8, merge_rows=0, accelerator=device)
    sut = sleeping_lanes(ScheduleConfig(lanes=1, cores=(), chunk_rows=8, merge_rows=0))
    try:
        load(sut, 500.0, 40, 0)
        stats = sut.stats()
    finally:
        sut.close()
    both_ns = 2 * 10**9
    after = replace(stats, counters={**stats.counters, "busy_ns": both_ns})
    meter = Meter(schedule, replace(FAST, window_queries=10))
    nothing = sleeping_lanes(ScheduleConfig(lanes=1, cores=(), chunk_rows=8, merge_rows=0))
    try:
        meter.begin(0, nothing.stats())
    finally:
        nothing.close()
    window = meter.end(10**9, after)
    assert window is not None and window.busy == 1.0


def test_closing_twice_and_draining_from_a_loop() -> None:
    layout = _native.InputLayout([], [], 0, 0, 1, False)
    factory = _native.PythonExecutorFactory(
        lambda *a: np.zeros((a[7] - a[6], 1), np.float32), layout
    )
    sut = AdaptiveDispatcher(LoopDispatcher(factory), parse("p95<=1ms"), FAST)
    done = []
    sut.issue(empty_query(0, 3), done.append)
    until = time.monotonic() + 10
    while not done and time.monotonic() < until:
        sut.drain()
    assert done[0].status == "ok"
    assert sut.fileno() >= 0
    sut.close()
    sut.close()
