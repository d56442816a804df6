from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

import recstack as rs
from recstack import results
from recstack.cli.app import app
from recstack.cli.tune import _plan
from recstack.cli.tuned import tuned_table
from recstack.engine import EngineConfig
from recstack.loadtest import sla
from recstack.loadtest.search import Found, Outcome
from recstack.model import zoo
from recstack.precision.plan import PrecisionPlan
from recstack.schedule import ScheduleConfig
from recstack.tune import Candidate, Deployment, Trial, TuneConfig, Tuned, read_deployment
from recstack.tune.deployment import read_reference


@pytest.mark.parametrize("better", [False, True])
@pytest.mark.parametrize("outcome", ["fail", "invalid", "undecided", None])
def test_a_row_of_the_result_fits_80_columns(outcome: Outcome | None, better: bool) -> None:
    schedule = ScheduleConfig(lanes=2, threads_per_lane=1, chunk_rows=500, merge_rows=256)
    found = Found(sla.parse("p95<=10ms"), 10321.0, 11217.0, outcome, 0.9, "measured", ())
    baseline, leader = (Trial(Candidate(schedule), found) for _ in range(2))
    out = io.StringIO()
    Console(file=out, width=80).print(
        tuned_table(
            Tuned(baseline, leader, (baseline, leader), True, better, 0, True),
            "p95<=10ms",
            "production",
        )
    )
    heads, *rows = out.getvalue().splitlines()
    assert heads.split() == ["schedule", "QPS", "bracket", "ended", "by"]
    assert len(rows) == 2 and all("10321..11217" in row for row in rows)


def tuned(folder: Path, *more: str) -> tuple[int, str]:
    """`recstack tune` of a tiny model."""
    model = folder / "ncf"
    if not model.exists():
        rs.zoo.build("ncf", rows_scale=0.001).save(model)
    done = CliRunner().invoke(
        app,
        ["tune", str(model), "--out", str(folder / "plan.toml"), "--sizes", "fixed:16", *more],
    )
    return done.exit_code, " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("sla", "said"), [("p95<=1ns", "no rate that was tried meets p95<=1ns"), ("p95<=1s", "")]
)
def test_a_plan_is_written_where_a_rate_meets_the_target_only(
    tmp_path: Path, sla: str, said: str
) -> None:
    kept = tmp_path / "plan.toml"
    kept.write_text("# of last week\n")
    code, text = tuned(tmp_path, "--sla", sla, "--budget-s", "1", "--no-slack")
    assert said in text
    assert (code == 1) == bool(said)
    assert (kept.read_text() == "# of last week\n") == bool(said)


def test_a_budget_that_ends_before_the_first_probe_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "plan.toml"
    kept.write_text("# of last week\n")
    spent = replace(TuneConfig(), budget_s=1e-9)
    monkeypatch.setattr("recstack.cli.tune.TuneConfig", lambda **given: spent)
    code, text = tuned(tmp_path)
    assert code == 1
    assert "--budget-s ended before the first probe: no plan written" in text
    assert kept.read_text() == "# of last week\n"


def test_results_have_each_schedule_on_its_own_plan_and_the_null_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alternative wins: its timeline is of its engine, the baseline's of the first."""
    rs.zoo.build("ncf", rows_scale=0.001).save(tmp_path / "ncf")
    rs.zoo.build("ncf", seed=1, rows_scale=0.001).save(tmp_path / "other")
    schedule = ScheduleConfig(lanes=1, chunk_rows=16, merge_rows=0)
    rate = Found(sla.parse("p95<=10ms"), 100.0, 110.0, "fail", 0.9, "measured", ())
    baseline = Trial(Candidate(schedule, "ncf"), rate)
    leader = Trial(Candidate(schedule, str(tmp_path / "other")), rate)
    found = Tuned(baseline, leader, (baseline, leader), True, True, 0, True)
    engines = {}

    def stub(given: dict[str, rs.Engine], *args: object, **more: object) -> Tuned:
        engines.update(given)
        return found

    ran = []

    def traced(engine: rs.Engine, *args: object, **more: object) -> dict[str, object]:
        ran.append(engine)
        return {"record": "timeline", "origin": "measured"}

    monkeypatch.setattr("recstack.cli.tune.tune_engines", stub)
    monkeypatch.setattr("recstack.tune.timeline.trace_schedule", traced)
    code, _ = tuned(tmp_path, "--alternative", str(tmp_path / "other"),
                    "--results", str(tmp_path / "tuned.jsonl"))  # fmt: skip
    assert code == 0
    assert ran == [engines["ncf"], engines[str(tmp_path / "other")]]
    sorts = [r["record"] for r in results.read(tmp_path / "tuned.jsonl").records]
    assert sorts == ["qps_at_sla", "qps_at_sla", "timeline", "timeline", "null"]


@pytest.mark.parametrize("absolute", [False, True])
def test_a_plan_that_is_tuned_into_another_folder_finds_all_that_it_names(
    tmp_path: Path, absolute: bool
) -> None:
    folder = tmp_path / "quantised"
    folder.mkdir()
    for name in ("m", "fp32"):
        zoo.build("ncf", rows_scale=0.001).save(folder / name)
    PrecisionPlan().save(folder / "precision.toml")
    reference = str(folder / "fp32") if absolute else "fp32"
    made = Deployment(model="m", precision="precision.toml", reference=reference)
    made.save(folder / "plan.toml")
    out = tmp_path / "tuned" / "plan.toml"
    out.parent.mkdir()
    _plan(folder / "plan.toml", EngineConfig(), out)[0].save(out)
    deployment, model = read_deployment(out)
    assert model.name == read_reference(out, deployment).name == "ncf"
