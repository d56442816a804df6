"""Policies compared in turns, on a machine that is not as its costs say."""

from __future__ import annotations

from dataclasses import replace

from recstack.cli.policies import simulated_setting
from recstack.loadtest import SLA, LoadResult, Traffic
from recstack.loadtest.sizes import Fixed
from recstack.schedule import Costs, ScheduleConfig
from recstack.tune.policies import compare

ROWS = [2**k for k in range(11)]


def costs(each_us: float, power: float) -> Costs:
    return Costs(busy=(1,), service_us=(tuple(each_us + rows**power for rows in ROWS),))


def test_deeprecsched_stays_at_statics_chunk_where_its_own_turns_out_slower() -> None:
    predicted = replace(
        simulated_setting(costs(0.0, 1.2), 2, Fixed(1000)), least=1000, most=1000, tolerance=0.05
    )
    slow_start = costs(100.0, 1.0)

    def run(schedule: ScheduleConfig, traffic: Traffic, deadline_ns: int | None) -> LoadResult:
        actual = schedule.model_copy(update={"costs": slow_start})
        return predicted.run(actual, traffic, deadline_ns)

    setting = replace(predicted, run=run, expected=replace(predicted, climb_from=4), runs=1)
    made = [r[0] for r in compare(setting, ("static", "deeprecsched"), SLA(95.0, 3_000_000))]
    static, climbed = made
    assert static["chunk_rows"] == climbed["chunk_rows"] == 500
    assert climbed["low_qps"] == static["low_qps"] > 0
    (start, own) = climbed["steps"]
    assert start == (500, static["low_qps"])
    assert own[0] < 500 and own[1] < static["low_qps"]
