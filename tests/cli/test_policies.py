"""`--policies` on this machine's lanes."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

import recstack as rs
from recstack.cli.app import app
from recstack.cli.policies import live_setting
from recstack.loadtest import SLA, make_traffic
from recstack.loadtest.sizes import Fixed
from recstack.report.records import Timeline
from recstack.report.waits import waits
from recstack.schedule import Costs
from recstack.tune.policies import POLICIES, Setting


@pytest.fixture(scope="module")
def setting() -> Setting:
    costs = Costs(busy=(1, 2), service_us=((50.0, 60.0, 70.0), (60.0, 70.0, 80.0)))
    engine = rs.compile(rs.zoo.build("ncf", seed=0, rows_scale=0.001))
    return live_setting(engine, costs, 2, Fixed(30), model="ncf", engine="recstack")


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_and_a_trace_on_this_machine(setting: Setting, policy: str) -> None:
    schedule = setting.schedule(policy, 10, SLA(95.0, 1_000_000_000))
    run = setting.run(schedule, make_traffic(200.0, 20, seed=0, distribution=Fixed(30)), None)
    assert run.origin == "measured" and run.queries == 20 and (run.status == 0).all()
    made = setting.trace(schedule, 200.0, None, policy)
    plain = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in made.items()}
    record = Timeline.model_validate(plain)
    assert record.origin == "measured" and record.lanes == 2
    assert set(record.chunk_query.tolist()) == set(range(record.rows.size))
    assert len(waits(record)) == record.rows.size
    # A chunk starts after its query came, but for the error in matching the two clocks.
    early_ns = record.arrival_ns[record.chunk_query] - record.chunk_start_ns
    assert early_ns.max() < 50_000_000


def test_they_are_compared_in_process_only() -> None:
    done = CliRunner().invoke(
        app, ["load", "ncf", "--rows-scale", "0.001", "--policies", "all", "--url", "http://x"]
    )
    assert done.exit_code != 0 and "without --url" in str(done.exception)
