from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recstack.loadtest.metrics import latencies_ns, summarise
from recstack.loadtest.outcome import ERROR, LOST, LoadResult
from recstack.loadtest.sla import SLA
from recstack.loadtest.verdict import judge
from recstack.report.document import read
from recstack.report.runs import Run, main_run, runs_of
from tests.report.conftest import Write
from tests.report.samples import Record, found_record, load_record, make_run

LIMIT = SLA(95.0, 10_000_000)


def read_runs(write: Write, *records: Record) -> list[Run]:
    return runs_of(read([write(*records)]))


def damaged(kind: str) -> LoadResult:
    run = make_run(700.0, service_us=1000.0, count=3000, seed=3)
    status, finished = run.status.copy(), run.finished_ns.copy()
    if kind == "lost":
        status[1000:1100], finished[1000:1100] = LOST, -1
    if kind == "errors":
        status[500:900] = ERROR
    if kind == "late":
        return replace(run, issued_ns=run.issued_ns + 2_000_000)
    if kind == "early":
        finished[2000] = run.issued_ns[2000] - 1
    if kind == "strays":
        return replace(run, strays=3)
    if kind == "short":
        return replace(run, warmup=2990)
    return replace(run, status=status, finished_ns=finished)


@pytest.mark.parametrize("kind", ["sound", "lost", "errors", "late", "early", "strays", "short"])
def test_figures_and_verdict_agree_with_their_twins(write: Write, kind: str) -> None:
    result = damaged(kind)
    record = load_record(result, 700.0, "tuned", "HTTP")
    (run,) = read_runs(write, found_record("tuned"), record)
    twin, verdict = summarise(result, LIMIT), judge(result, LIMIT)
    assert np.array_equal(run.latency_ns, np.sort(latencies_ns(result)))
    assert run.counts == twin.statuses
    assert run.achieved_qps == pytest.approx(twin.achieved_qps)
    assert run.lateness(0.99) == twin.lateness_p99_ns
    for p in (50.0, 95.0, 99.0):
        got = run.latency(p / 100)
        assert got and (got.value, got.low, got.high) == (
            twin.latency_ns[p].value,
            twin.latency_ns[p].low,
            twin.latency_ns[p].high,
        )
    assert run.reasons == verdict.reasons
    assert bool(run.reasons) == (kind not in ("sound", "errors"))


def test_reasons_of_the_record_come_first(write: Write) -> None:
    record = load_record(damaged("sound"), 700.0, "tuned", "HTTP")
    (run,) = read_runs(write, {**record, "reasons": ["a neighbour was compiling"]})
    assert run.reasons == ("a neighbour was compiling",)
    assert run.sla is None


def at(rate_qps: float, transport: str, service_us: float = 500.0) -> Record:
    run = make_run(rate_qps, service_us=service_us, count=2000, seed=1)
    return load_record(run, rate_qps, "tuned", transport)


def test_the_main_run_is_the_fastest_within_the_sla_over_http(write: Write) -> None:
    records = [at(200, "HTTP"), at(800, "HTTP"), at(2600, "HTTP"), at(900, "in process")]
    run = main_run(read_runs(write, found_record("tuned"), *records))
    assert run and (run.record.rate_qps, run.record.transport) == (800, "HTTP")


def test_without_one_within_the_sla_it_is_the_slowest(write: Write) -> None:
    run = main_run(read_runs(write, found_record("tuned"), at(2900, "HTTP"), at(2600, "HTTP")))
    assert run and run.record.rate_qps == 2600
    run = main_run(read_runs(write, at(300, "in process"), at(100, "in process")))
    assert run and run.record.rate_qps == 100
    assert main_run([]) is None


def test_the_sla_is_the_labels_own(write: Write) -> None:
    other = {**found_record("baseline"), "sla": "p99<=5ms"}
    run, stranger = read_runs(
        write, other, found_record("tuned"), at(200, "HTTP"), {**at(200, "HTTP"), "label": "x"}
    )
    assert str(run.sla).replace("\u00a0", " ") == "p95 ≤ 10 ms"
    assert stranger.sla is None
