from __future__ import annotations

import io

import pytest
from rich.console import Console

from recstack.cli.tune import tuned_table
from recstack.loadtest import sla
from recstack.loadtest.search import Found, Outcome
from recstack.schedule import ScheduleConfig
from recstack.tune import Trial, Tuned


@pytest.mark.parametrize("outcome", ["fail", "invalid", "undecided", None])
def test_a_row_of_the_result_fits_80_columns(outcome: Outcome | None) -> None:
    schedule = ScheduleConfig(lanes=2, threads_per_lane=1, chunk_rows=500, merge_rows=256)
    found = Found(sla.parse("p95<=10ms"), 10321.0, 11217.0, outcome, 0.9, "measured", ())
    trial = Trial(schedule, found)
    out = io.StringIO()
    Console(file=out, width=80).print(
        tuned_table(Tuned(trial, trial, (trial,), True), "p95<=10ms", "production")
    )
    heads, *rows = out.getvalue().splitlines()
    assert heads.split() == ["schedule", "QPS", "bracket", "ended", "by"]
    assert len(rows) == 2 and all("10321..11217" in row for row in rows)
