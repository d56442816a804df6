from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from recstack import _native
from recstack.loadtest import arrivals, make_traffic, sizes
from recstack.loadtest.sla import parse
from recstack.schedule import ScheduleConfig
from recstack.tune import Candidate
from recstack.tune.online import Controller, OnlineConfig, neighbours
from recstack.tune.trial import Window, student_t
from tests.tune.queueing import curve, play, table

# A chunk costs 0.5 ms however small: many chunks are good for one query, bad for many.
COSTS = table(curve(lambda n: 500 + 5.0 * n))
SLA = parse("p95<=20ms")
START = ScheduleConfig(lanes=4, chunk_rows=32, merge_rows=0)


def window(schedule: ScheduleConfig, qps: float, seed: int, costs: list[float] = COSTS) -> Window:
    """A window of 600 queries in virtual time."""
    plan = make_traffic(qps, 600, seed=seed, distribution=sizes.Production())
    return windowed(schedule, plan.scheduled_ns, plan.rows, costs)


def windowed(
    schedule: ScheduleConfig, scheduled_ns: np.ndarray, sizes_rows: np.ndarray, costs: list[float]
) -> Window:
    """Some queries in virtual time."""
    scheduled, rows = scheduled_ns.tolist(), sizes_rows.tolist()
    latency = play(Candidate(schedule), costs, scheduled, rows)
    histogram = _native.Histogram()
    for value in latency.astype(int).tolist():
        histogram.record(value)
    chunks = np.ceil(sizes_rows / schedule.chunk_rows)
    work_ns = float(
        sum(c * costs[int(np.ceil(r / c))] for c, r in zip(chunks, sizes_rows, strict=True))
    )
    span_ns = max(scheduled[-1], int((scheduled_ns + latency).max()))
    busy = min(work_ns / (schedule.lanes * span_ns), 1.0)
    return Window(scheduled[-1] / 1e9, 0, histogram.snapshot(), busy, work_ns / sizes_rows.sum())


def live(controller: Controller, qps: float, windows: int, seed: int = 0, costs=COSTS):
    """Run so many windows; the schedules that ran."""
    ran = []
    schedule = controller.schedule
    for i in range(windows):
        ran.append(schedule)
        schedule = controller.step(window(schedule, qps, 1000 * seed + i, costs))
    return ran


def tail_ms(schedule: ScheduleConfig, qps: float) -> float:
    tails = [window(schedule, qps, 10**6 + s).tail_ns(0.95) for s in range(10)]
    return float(np.median(tails)) / 1e6


def best_chunk(qps: float) -> int:
    chunks = [8 << k for k in range(8)]
    tails = {c: tail_ms(START.model_copy(update={"chunk_rows": c}), qps) for c in chunks}
    return min(tails, key=tails.__getitem__)


def test_a_load_change_is_followed_and_then_left_alone() -> None:
    controller = Controller(START, SLA)
    live(controller, 60.0, 40)
    assert controller.counts.trials == 0, "well within the limit: nothing to gain"
    busy = 1150.0
    assert tail_ms(START, busy) > 20, "the old schedule misses the limit at the new load"
    live(controller, busy, 300, seed=1)
    assert controller.schedule.chunk_rows > START.chunk_rows
    best = START.model_copy(update={"chunk_rows": best_chunk(busy)})
    assert tail_ms(controller.schedule, busy) <= 1.15 * tail_ms(best, busy)
    # Steady load: no new round, so no change either.
    trials = controller.counts.trials
    ran = live(controller, busy, 300, seed=2)
    assert set(ran) == {controller.schedule}
    assert controller.counts.trials == trials


def test_lanes_that_become_slower_are_noticed() -> None:
    """The load stays, what a chunk costs grows fourfold: larger chunks are tried and kept."""
    start = START.model_copy(update={"chunk_rows": 64})
    controller = Controller(start, SLA)
    cheap = table(curve(lambda n: 100 + 5.0 * n))
    live(controller, 1000.0, 150, costs=cheap)
    before, settled = controller.counts.trials, controller.schedule
    live(controller, 1000.0, 100, seed=1, costs=cheap)
    assert controller.counts.trials == before, "nothing has changed"
    live(controller, 1000.0, 200, seed=2, costs=table(curve(lambda n: 500 + 5.0 * n)))
    assert controller.counts.trials > before
    assert controller.schedule.chunk_rows > settled.chunk_rows


def mmpp_windows(qps: float, windows: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Arrivals and sizes of windows of two seconds, of a process that bursts for about as long."""
    process = arrivals.parse("mmpp:burst=4,calm_s=10,burst_s=2")
    count = int(qps * 2 * windows)
    plan = make_traffic(qps, count, seed=seed, process=process, distribution=sizes.Production())
    ends = np.searchsorted(plan.scheduled_ns, 2 * 10**9 * np.arange(1, windows + 1))
    for i, (begin, end) in enumerate(itertools.pairwise([0, *ends.tolist()])):
        if end - begin >= 30:
            yield plan.scheduled_ns[begin:end] - i * 2 * 10**9, plan.rows[begin:end]


def test_bursts_that_come_again_are_no_change_of_load() -> None:
    """Once it has seen how the load varies, a re-tune is rare: not one per burst."""
    controller = Controller(START, SLA)
    schedule, trials = controller.schedule, []
    for scheduled, rows in mmpp_windows(500.0, 600, seed=0):
        schedule = controller.step(windowed(schedule, scheduled, rows, COSTS))
        trials.append(controller.counts.trials)
    bursts = len(trials) // 6
    assert trials[-1] > 0, "bursts put the limit at risk: something is tried"
    late = trials[-1] - trials[len(trials) // 3]
    assert late <= bursts // 5, (late, bursts)


def test_when_the_limit_cannot_be_met_attempts_become_rare() -> None:
    controller = Controller(START, parse("p95<=1ms"), OnlineConfig(retry_windows=10))
    live(controller, 600.0, 250)
    early = controller.counts.trials
    live(controller, 600.0, 250, seed=1)
    late = controller.counts.trials - early
    assert 0 < late < early


def test_the_same_schedule_under_another_name_is_not_taken() -> None:
    """Noise alone: over many trials, what is no better is kept no more often than stated."""
    flat = table(curve(lambda n: 5.0 * n))
    kept = trials = 0
    for seed in range(40):
        own = ScheduleConfig(lanes=1, chunk_rows=1000, merge_rows=0)
        config = OnlineConfig(margin=1e-9, largest_rows=1000)
        controller = Controller(own, parse("p95<=3ms"), config)
        for i in range(20):
            # Whatever it chooses, the same thing runs.
            controller.step(window(own, 500.0, 100 * seed + i, flat))
        kept, trials = kept + controller.counts.kept, trials + controller.counts.trials
    assert trials >= 40
    assert kept <= 0.05 * trials + 3


def test_a_harmful_neighbour_is_dropped_after_one_window() -> None:
    controller = Controller(START, SLA)
    costly = START.model_copy(update={"chunk_rows": 64})
    own = window(START, 600.0, 0)
    first = Window(own.seconds, 0, own.latency, 0.8, own.row_ns)
    assert controller.step(first) == START
    assert controller.step(first) == costly
    late = Window(first.seconds, first.latency.count // 2, first.latency, 0.8, first.row_ns)
    after = controller.step(replace(late, seconds=1.5 * late.seconds))
    assert after == START
    assert controller.counts.aborted == 1


def test_neighbours_keep_to_their_bounds() -> None:
    config = OnlineConfig(least_rows=8, largest_rows=1000)
    small = ScheduleConfig(chunk_rows=8, merge_rows=256, merge_window_us=10_000.0)
    made = list(neighbours(small, config))
    assert {s.chunk_rows for s in made} == {8, 16}
    assert all(s != small and s.merge_window_us <= 10_000.0 for s in made)
    large = START.model_copy(update={"chunk_rows": 900})
    assert max(s.chunk_rows for s in neighbours(large, config)) == 1000


@pytest.mark.parametrize(("share", "degrees", "value"), [(0.99, 3, 4.541), (0.995, 7, 3.499)])
def test_students_quantiles(share: float, degrees: int, value: float) -> None:
    assert student_t(share, degrees) == pytest.approx(value, rel=0.03)
