"""Costs as data, how they are measured, and the slack policy on live lanes."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pydantic import ValidationError

from recstack import _native
from recstack.batch import Batch
from recstack.errors import ConfigError
from recstack.schedule import Costs, LoopDispatcher, ScheduleConfig, measure_costs, read_costs

FLAT = Costs(busy=(1,), service_us=(tuple(50.0 + 5.0 * 2**k for k in range(11)),))


def batch_of(rows: int, seed: int = 0) -> Batch:
    return Batch(
        dense=np.full((rows, 1), seed, np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros(0, np.int32),
        query_offsets=np.array([0, rows], np.int32),
    )


def factory(fixed_s: float = 0.0, row_s: float = 0.0):
    """Sleeps as long as a batch is to take."""

    def run(dense, user_dense, values, lengths, offsets, weights, begin, end):
        if fixed_s or row_s:
            time.sleep(fixed_s + row_s * (end - begin))
        return np.zeros((end - begin, 1), np.float32)

    return _native.PythonExecutorFactory(run, _native.InputLayout([], [], 1, 0, 1, False))


def test_costs_come_back_from_their_file(tmp_path):
    costs = FLAT.model_copy(update={"query_us": 1.5, "spread": (0.5, 1.0, 2.0), "what": "ncf"})
    costs.save(tmp_path / "costs.json")
    assert read_costs(tmp_path / "costs.json") == costs
    (tmp_path / "bad.json").write_text('{"busy": [2], "service_us": [[1, 2]]}')
    with pytest.raises(ConfigError, match=r"expected busy to ascend from 1.*bad\.json"):
        read_costs(tmp_path / "bad.json")
    with pytest.raises(ConfigError, match="cannot read"):
        read_costs(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"busy": (1, 2), "service_us": ((1.0, 2.0),)}, "expected 2 rows of service_us"),
        ({"busy": (1,), "service_us": ((1.0,),)}, "length >= 2"),
        ({"busy": (1,), "service_us": ((1.0, -2.0),)}, "greater than 0"),
        ({"busy": (1,), "service_us": ((1.0, 2.0),), "spread": (2.0, 1.0)}, "an ascending spread"),
    ],
)
def test_costs_that_make_no_curve_are_refused(fields, what):
    with pytest.raises(ValidationError, match=what):
        Costs(**fields)


def test_the_slack_policy_needs_costs():
    with pytest.raises(ValidationError, match="expected costs with policy 'slack'"):
        ScheduleConfig(policy="slack")
    with pytest.raises(ValueError, match="expected a cost curve"):
        _native.Dispatcher([factory()], [[]], _native.SlackPolicy(-1), 8, 8, 0)


def test_measured_costs_are_those_of_the_executor():
    costs = measure_costs(
        factory(fixed_s=0.002, row_s=2e-5),
        batch_of, lanes=2, largest_rows=64, seconds=0.5,
    )  # fmt: skip
    assert costs.busy == (1, 2)
    assert costs.largest_rows == 64
    for times in costs.service_us:
        assert times[0] > 2_000
        assert times[-1] > 2_000 + 64 * 20
        assert list(times) == sorted(times)
    assert 0 <= costs.query_us <= costs.service_us[0][0]
    assert 2 <= len(costs.spread) <= 64
    assert np.mean(costs.spread) == pytest.approx(1.0, abs=0.01)


def test_measuring_says_what_failed():
    def run(*arrays):
        raise RuntimeError("no luck")

    broken = _native.PythonExecutorFactory(run, _native.InputLayout([], [], 1, 0, 1, False))
    with pytest.raises(ConfigError, match="no luck"):
        measure_costs(broken, batch_of, lanes=1, largest_rows=64, seconds=0.1)
    with pytest.raises(ConfigError, match="a power of two >= 64, got 100"):
        measure_costs(broken, batch_of, largest_rows=100)


def slack(costs: Costs, target_ms: float, lanes: int = 2) -> ScheduleConfig:
    return ScheduleConfig(policy="slack", costs=costs, target_ms=target_ms, lanes=lanes)


def test_a_lone_query_is_cut_for_all_lanes():
    with LoopDispatcher(factory(), slack(FLAT, 100.0, lanes=4)) as dispatcher:
        dispatcher.issue_schedule([batch_of(400)], np.zeros(1, np.int32), np.zeros(1, np.int64))
        assert dispatcher.stats().counters["split_queries"] == 1
        assert dispatcher.stats().counters["batches"] == 4


def test_overload_is_refused_before_deadlines_and_the_rest_is_in_time():
    # 2 lanes, 20 ms per query: 100 queries per second; asked for 400.
    costs = Costs(busy=(1,), service_us=(tuple(20_000.0 * 2**k for k in range(11)),))
    with LoopDispatcher(factory(row_s=0.02), slack(costs, 100.0)) as dispatcher:
        scheduled = np.arange(200, dtype=np.int64) * 2_500_000
        run = dispatcher.issue_schedule([batch_of(1)], np.zeros(200, np.int32), scheduled)
        counters = dispatcher.stats().counters
    took = run.finished_ns - run.issued_ns
    refused = run.status == 2
    assert ((run.status == 0) | refused).all()
    assert 0.3 < refused.mean() < 0.9
    assert counters["deadline"] == refused.sum() == counters["early"]
    assert took[refused].max() < 150e6
    assert np.quantile(took[~refused], 0.5) < 150e6


def test_a_refusal_does_not_wait_for_a_lane_that_is_stuck():
    fast = Costs(busy=(1,), service_us=((10.0,) * 11,))
    with LoopDispatcher(factory(fixed_s=0.5), slack(fast, 50.0, lanes=1)) as dispatcher:
        run = dispatcher.issue_schedule(
            [batch_of(1)], np.zeros(2, np.int32), np.array([0, 10_000_000])
        )
    assert run.status.tolist() == [0, 2]
    assert run.finished_ns[1] - run.issued_ns[1] < 250_000_000
