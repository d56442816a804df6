"""Chunk sizes: the static rule and the climb."""

from __future__ import annotations

import pytest

from recstack.errors import ConfigError
from recstack.schedule import (
    AcceleratorConfig,
    ScheduleConfig,
    climb_chunk_rows,
    climb_threshold_rows,
    deeprecsched,
    static_chunk_rows,
)


@pytest.mark.parametrize(("largest", "lanes", "want"), [(1000, 40, 25), (1000, 3, 334), (1, 8, 1)])
def test_static_chunk_is_the_largest_query_over_the_lanes(largest, lanes, want):
    assert static_chunk_rows(largest, lanes) == want


def test_climb_stops_at_the_first_decrease():
    measured = []

    def measure(chunk_rows):
        measured.append(chunk_rows)
        return 100.0 - abs(chunk_rows - 16)

    climb = climb_chunk_rows(measure)
    assert (climb.rows, climb.qps) == (16, 100.0)
    assert measured == [1, 2, 4, 8, 16, 32]
    assert [step[0] for step in climb.steps] == measured


def test_climb_goes_on_over_equal_steps_and_ends_at_the_largest_query():
    climb = climb_chunk_rows(lambda rows: float(rows >= 100), start=32, largest_rows=200)
    assert [step[0] for step in climb.steps] == [32, 64, 128, 200]
    assert climb.rows == 200


def test_climb_goes_on_over_what_the_measure_cannot_tell_apart():
    steps = {1: 100.0, 2: 98.5, 4: 99.0, 8: 90.0}
    assert climb_chunk_rows(steps.__getitem__, tolerance=0.02).rows == 4


def test_climb_is_fooled_by_a_dip():
    dip = {1: 10.0, 2: 9.0, 4: 50.0}
    assert climb_chunk_rows(dip.__getitem__).rows == 1


@pytest.mark.parametrize("bad", [{"start": 0}, {"largest_rows": 0}])
def test_climb_refuses_nonsense(bad):
    with pytest.raises(ConfigError):
        climb_chunk_rows(float, **bad)


def test_static_refuses_nonsense():
    with pytest.raises(ConfigError, match="got 0 and 4"):
        static_chunk_rows(0, 4)


def test_the_threshold_climbs_from_all_queries_to_none():
    climb = climb_threshold_rows(float, largest_rows=100)
    assert [rows for rows, _ in climb.steps] == [1, 2, 4, 8, 16, 32, 64, 101]
    assert climb_threshold_rows(lambda rows: -abs(rows - 30.0)).rows == 32


def test_deeprecsched_climbs_the_chunk_on_the_cores_and_then_the_threshold():
    measured = []

    def measure(schedule: ScheduleConfig) -> float:
        device = schedule.accelerator
        measured.append((schedule.policy, schedule.chunk_rows, device and device.threshold_rows))
        of_device = 100.0 - abs(device.threshold_rows - 4) if device else 0.0
        return 50.0 - abs(schedule.chunk_rows - 2) + of_device

    schedule = ScheduleConfig(lanes=3, accelerator=AcceleratorConfig(lanes=2))
    found = deeprecsched(measure, schedule)
    assert measured == [
        *(("fixed", rows, None) for rows in (1, 2, 4)),
        *(("fixed", 2, rows) for rows in (1, 2, 4, 8)),
    ]
    assert (found.qps, found.chunk.rows, found.schedule.lanes) == (150.0, 2, 3)
    assert found.schedule.accelerator == AcceleratorConfig(lanes=2, threshold_rows=4)
    cores = deeprecsched(measure, ScheduleConfig())
    assert (cores.qps, cores.threshold, cores.schedule.chunk_rows) == (50.0, None, 2)
