from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from recstack import results
from recstack.loadtest.metrics import (
    achieved_qps,
    goodput_qps,
    latencies_ns,
    lateness_ns,
    offered_qps,
    summarise,
)
from recstack.loadtest.outcome import CODES, LoadResult
from recstack.loadtest.sla import SLA
from recstack.loadtest.stationarity import warmup_cut
from recstack.loadtest.verdict import judge

MS = 1_000_000


def uniform_run(n: int = 1000, latency_ns: int = MS, late_ns: int = 0) -> LoadResult:
    """One query every millisecond, all answered alike."""
    scheduled = np.arange(n, dtype=np.int64) * MS
    return LoadResult(
        scheduled_ns=scheduled,
        issued_ns=scheduled + late_ns,
        finished_ns=scheduled + latency_ns,
        rows=np.full(n, 4, np.int64),
        status=np.zeros(n, np.uint8),
    )


def refuse(result: LoadResult, which: slice, status: str = "queue_full") -> LoadResult:
    codes = result.status.copy()
    codes[which] = CODES[status]
    return replace(result, status=codes)


def test_rates() -> None:
    result = uniform_run()
    assert offered_qps(result) == pytest.approx(1000.0)
    assert achieved_qps(result) == pytest.approx(1000.0)
    assert goodput_qps(result, MS) == pytest.approx(1000.0)
    assert goodput_qps(result, MS - 1) == 0.0
    half = refuse(result, slice(0, None, 2))
    assert achieved_qps(half) == pytest.approx(500.0)
    assert goodput_qps(half, 2 * MS) == pytest.approx(500.0)


def test_refused_queries_cannot_improve_a_percentile() -> None:
    result = refuse(uniform_run(), slice(0, 60))
    assert summarise(result).latency_ns[95.0].value == np.inf
    assert summarise(result).latency_ns[90.0].value == MS
    assert latencies_ns(result, answered_only=True).tolist() == [MS] * 940
    assert summarise(result).to_record()["latency_ns"]["p95"]["value"] is None


def test_warm_up_is_left_out_everywhere() -> None:
    slow = uniform_run(latency_ns=MS)
    finished = slow.finished_ns.copy()
    finished[:100] += 500 * MS
    result = replace(slow, finished_ns=finished, warmup=100)
    assert latencies_ns(result).size == lateness_ns(result).size == 900
    summary = summarise(result, SLA(95.0, 2 * MS))
    assert (summary.queries, summary.warmup) == (900, 100)
    assert summary.latency_ns[99.9].value == MS
    assert summary.goodput_qps == pytest.approx(1000.0, rel=0.01)


def test_a_summary_goes_into_a_result_file(tmp_path: object) -> None:
    stages = {"run": np.where(np.arange(1000) % 2, 5, -1).astype(np.int64)}
    result = replace(refuse(uniform_run(), slice(0, 3), "lost"), stages_ns=stages)
    record = summarise(result, SLA(97.5, MS)).to_record()
    assert record["statuses"] == {"ok": 997, "lost": 3}
    assert record["stages_p95_ns"] == {"run": 5.0}
    assert "p97.5" in record["latency_ns"]
    assert json.loads(results._encode(record, "here"))["origin"] == "measured"


SLA95 = SLA(95.0, 10 * MS)


def test_a_sound_run_is_valid() -> None:
    verdict = judge(uniform_run(late_ns=MS // 4), SLA95)
    assert verdict.valid and str(verdict) == "VALID"


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (uniform_run(latency_ns=2 * MS, late_ns=MS), "p99 lateness is 1000 us, over 5%"),
        (uniform_run(n=89), "p95 needs 90 queries after warm-up, got 89"),
        (replace(uniform_run(n=100), warmup=50), "got 50"),
        (refuse(uniform_run(), slice(0, 2), "lost"), "2 of 1000 queries were never answered"),
        (replace(uniform_run(), strays=3), "3 completions were repeated"),
        (uniform_run(latency_ns=-5), "1000 answers are dated before"),
    ],
)
def test_an_unsound_run_says_why(result: LoadResult, reason: str) -> None:
    verdict = judge(result, SLA95)
    assert not verdict.valid
    assert reason in str(verdict)


def test_missing_the_sla_does_not_make_a_run_invalid() -> None:
    assert judge(uniform_run(latency_ns=500 * MS), SLA95).valid
    assert judge(refuse(uniform_run(), slice(0, 900)), SLA95).valid


def test_a_run_that_never_settles_is_invalid() -> None:
    """A queue that grows: its percentiles would say how long the run was."""
    steady = uniform_run(latency_ns=MS)
    growing = steady.scheduled_ns + MS + np.arange(1000) * 10_000
    verdict = judge(replace(steady, finished_ns=growing), SLA95)
    assert "latencies rise to the end" in str(verdict)
    falling = steady.scheduled_ns + MS + np.arange(1000)[::-1] * 10_000
    assert "fall to the end" in str(judge(replace(steady, finished_ns=falling), SLA95))


def test_a_warm_up_as_long_as_it_may_be_is_noted() -> None:
    steady = uniform_run()
    rest = np.linspace(1.4, 1.0, steady.queries) * 10 * MS
    falling = replace(steady, finished_ns=steady.scheduled_ns + rest.astype(np.int64))
    cut = warmup_cut((falling.finished_ns - falling.scheduled_ns).astype(np.float64))
    verdict = judge(replace(falling, warmup=cut), SLA95)
    assert verdict.valid and "try a longer run" in verdict.notes[0]
    assert str(verdict).startswith("VALID (note: the warm-up of ")
    assert not judge(steady, SLA95).notes and not judge(replace(falling, warmup=7), SLA95).notes
