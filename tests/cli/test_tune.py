from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from recstack.cli.tune import _plan
from recstack.cli.tuned import tuned_table
from recstack.engine import EngineConfig
from recstack.loadtest import sla
from recstack.loadtest.search import Found, Outcome
from recstack.model import zoo
from recstack.precision.plan import PrecisionPlan
from recstack.schedule import ScheduleConfig
from recstack.tune import Candidate, Deployment, Trial, Tuned, read_deployment
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
