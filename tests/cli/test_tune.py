from __future__ import annotations

import io

import pytest
from rich.console import Console

from recstack.cli.tuned import tuned_table
from recstack.loadtest import sla
from recstack.loadtest.search import Found, Outcome
from recstack.schedule import ScheduleConfig
from recstack.tune import Candidate, Trial, Tuned


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
