"""Lane placement and the checks of a configuration."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from recstack.schedule import AcceleratorConfig, Costs, ScheduleConfig


def test_cores_are_dealt_out_where_there_are_enough():
    config = ScheduleConfig(lanes=3, threads_per_lane=2)
    assert config.lane_cores([0, 2, 4, 6, 8, 10, 12]) == [[0, 2], [4, 6], [8, 10]]
    assert config.lane_cores([0, 1, 2, 3, 4]) == [[], [], []]


def test_given_cores_are_kept_and_none_can_be_asked_for():
    assert ScheduleConfig(lanes=2, cores=((3,), (1, 2))).lane_cores([0]) == [[3], [1, 2]]
    assert ScheduleConfig(lanes=2, cores=()).lane_cores(range(8)) == [[], []]


def test_lanes_spin_only_where_a_core_is_left_over():
    assert ScheduleConfig(lanes=2).spin_ns([0, 1]) == 0
    assert ScheduleConfig(lanes=2).spin_ns([0, 1, 2]) == 20_000
    beside = ScheduleConfig(lanes=2, accelerator=AcceleratorConfig())
    assert (beside.spin_ns(range(3)), beside.spin_ns(range(4))) == (0, 20_000)
    assert ScheduleConfig(lanes=2, spin_us=1.5).spin_ns([0]) == 1500


def test_the_issuing_thread_spins_only_where_a_core_is_left_over():
    assert ScheduleConfig(lanes=2, threads_per_lane=2).issue_spin_ns(range(4)) == 0
    assert ScheduleConfig(lanes=2, threads_per_lane=2).issue_spin_ns(range(5)) == 60_000


@pytest.mark.parametrize(
    "bad",
    [{"lane": 2}, {"lanes": 0}, {"chunk_rows": 0}, {"cores": ((1,),), "lanes": 2}, {"order": "x"}],
)
def test_what_is_wrong_is_refused(bad):
    with pytest.raises(ValidationError):
        ScheduleConfig(**bad)


def test_slack_needs_the_costs_of_every_kind_of_lane():
    costs = Costs(busy=(1,), service_us=((1.0, 2.0),))
    with pytest.raises(ValidationError, match="expected the accelerator's costs"):
        ScheduleConfig(policy="slack", costs=costs, accelerator=AcceleratorConfig())
    both = ScheduleConfig(costs=costs, accelerator=AcceleratorConfig(costs=costs))
    assert len(both.curves()) == 2
    assert both.model_copy(update={"costs": None}).curves() == []


def test_it_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        ScheduleConfig().lanes = 2
