"""The clock between a program's steps."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native import step_times as timing
from recstack.engine.native.step_times import StepTime, format_step_times, step_times


@pytest.fixture(scope="module")
def model() -> rs.Model:
    return rs.zoo.build("din", rows_scale=0.0001)


def test_every_step_of_both_scopes_takes_time(model: rs.Model) -> None:
    engine = rs.compile(model)
    assert isinstance(engine, rs.Engine)
    batches = [rs.data.random_batch(model, rows=9, seed=s) for s in range(2)]
    times = step_times(engine, batches, runs=5)
    steps = timing.make_plan(model).steps
    for scope in ("user", "item"):
        own = [t for t in times if t.scope == scope]
        assert [t.kind for t in own] == [s.kind for s in steps if s.scope == scope]
        assert all(t.ns >= t.least_ns > 0 for t in own)
    assert {t.value for t in times} >= {"interest"}


def test_a_bad_batch_is_the_error_that_a_run_gives(model: rs.Model) -> None:
    engine = rs.compile(model)
    assert isinstance(engine, rs.Engine)
    batch = rs.data.random_batch(model, rows=2, seed=0)
    bad = batch.replace(values=np.full_like(batch.values, 1 << 30))
    with pytest.raises(rs.RecstackError, match="1073741824"):
        step_times(engine, [bad], runs=1)


def test_many_steps_of_a_kind_share_a_line() -> None:
    bags = [StepTime("bag", "item", f"bag_{i}", (i,), 200.0, 150.0) for i in range(10)]
    top = StepTime("linear", "item", "top", (5,), 2000.0, 1900.0)
    lines = [line.split() for line in format_step_times([*bags, top]).splitlines()]
    assert lines[1] == ["2.00", "1.50", "50.0%", "item", "10", "bag", "(0)", "bag_0", "..", "bag_9"]
    assert lines[2] == ["2.00", "1.90", "50.0%", "item", "1", "linear", "(5)", "top"]
    assert lines[3] == ["4.00", "total"]
