"""`--policies` on this machine's lanes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import recstack as rs
from recstack import results
from recstack.cli.app import app
from recstack.cli.policies import compare_policies, live_setting, simulated_setting
from recstack.errors import ConfigError
from recstack.loadtest import SLA, DriverConfig, LoadResult, drive, make_traffic
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


def test_warm_up_of_a_live_run_is_found(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the driver; none is guessed."""
    given: list[DriverConfig] = []
    real = drive

    def watched(*args: Any, config: DriverConfig) -> LoadResult:
        given.append(config)
        return real(*args, config=config)

    monkeypatch.setattr("recstack.cli.policies.drive", watched)
    schedule = setting.schedule("static", 10, SLA(95.0, 1_000_000_000))
    setting.run(schedule, make_traffic(200.0, 20, seed=0, distribution=Fixed(30)), 10**9)
    assert [(c.warmup, c.deadline_ns) for c in given] == [(None, 10**9)]


def test_they_are_compared_in_process_only() -> None:
    done = CliRunner().invoke(
        app, ["load", "ncf", "--rows-scale", "0.001", "--policies", "all", "--url", "http://x"]
    )
    assert done.exit_code != 0 and "without --url" in str(done.exception)


def test_a_failing_null_system_does_not_lose_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*given: object, **more: object) -> None:
        raise ConfigError("planted")

    monkeypatch.setattr("recstack.cli.load.measure_null", fail)
    out = tmp_path / "run.jsonl"
    done = CliRunner().invoke(
        app, ["load", "ncf", "--rows-scale", "0.001", "--qps", "100", "--seconds", "0.5",
              "--out", str(out)]
    )  # fmt: skip
    assert "planted" in str(done.exception)
    assert [r["record"] for r in results.read(out, "load").records] == ["load"]


def test_measured_policies_have_the_null_system_beside_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = Costs(busy=(1,), service_us=(tuple(100.0 + 2**k for k in range(8)),))
    made = replace(simulated_setting(costs, 2, Fixed(64)), least=300, most=300, tolerance=0.2)
    asked: list[float] = []

    def null(rate_qps: float) -> dict[str, Any]:
        asked.append(rate_qps)
        return {"record": "null", "origin": "measured"}

    monkeypatch.setattr("recstack.cli.policies.null_record", null)
    for origin in ("simulated", "measured"):
        out = tmp_path / f"{origin}.jsonl"
        met = compare_policies(
            replace(made, origin=origin), "static", SLA(95.0, 5_000_000), "1", out, True
        )
        sorts = [r["record"] for r in results.read(out, "policies").records]
        assert met and ("null" in sorts) == (origin == "measured")
    assert len(asked) == 1 and asked[0] > 100
