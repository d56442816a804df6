from __future__ import annotations

import pytest

from recstack.errors import DataError
from recstack.report import render
from tests.report.conftest import Write
from tests.report.samples import Record, found_record
from tests.report.structure import Element, table
from tests.report.test_page import check

MS = 1_000_000


def timeline_record(**changes: object) -> Record:
    """Two lanes. Query 0 (500 rows) takes both for 10 ms; query 1 (10 rows) waits for them, 8 ms;
    query 2 (20 rows) comes to one idle lane and one with query 1."""
    return {
        "record": "timeline", "origin": "measured", "label": "fixed", "lanes": 2,
        "chunk_query": [0, 0, 1, 2], "chunk_lane": [0, 1, 0, 1],
        "chunk_start_ns": [0, 0, 10 * MS, 12 * MS],
        "chunk_end_ns": [10 * MS, 10 * MS, 13 * MS, 14 * MS],
        "arrival_ns": [0, 2 * MS, 11 * MS], "rows": [500, 10, 20],
    } | changes  # fmt: skip


def page(write: Write, *records: Record, kind: str = "tune") -> Element:
    return check(render([write(*records, kind=kind)]))


def test_the_timeline_of_a_run(write: Write) -> None:
    root = page(write, timeline_record(refused_ns=[-1, -1, -1, 20 * MS], arrival_ns=[
        0, 2 * MS, 11 * MS, 12 * MS], rows=[500, 10, 20, 900]))  # fmt: skip
    longest = table(root, "Longest waits of fixed, 2 lanes")[0]
    assert longest[1:] == ["10", "8.00", "0%", "100%", "0%", "100%"]
    titles = [t.text for t in root.all("title")]
    assert "query 1, 10 rows: waited 8 ms, lane: it was next, no lane was free" in titles
    assert "query 0, 500 rows, 10 ms" in titles
    assert "query 3, 900 rows: refused after 8 ms" in titles
    (total,) = table(root, "What queries waited for")
    assert total[1:3] == ["3", "3.00"] and total[-2:] == ["1", "measured"]


def test_forty_lanes_have_thin_lines_of_which_some_are_named(write: Write) -> None:
    root = page(write, timeline_record(lanes=40))
    names = [t.text for t in root.all("text") if t.text.startswith("lane ")]
    assert names == [f"lane {i}" for i in range(0, 40, 5)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk_lane": [0, 1, 0, 2]},
        {"chunk_query": [0, 0, 1, 3]},
        {"rows": [1]},
        {"chunk_lane": [0]},
        {"lane_kinds": ["lane"]},
        {"lane_kinds": ["lane", "gpu"]},
        {"refused_ns": [1]},
    ],
)
def test_a_timeline_that_does_not_fit_is_refused(write: Write, wrong: Record) -> None:
    with pytest.raises(DataError, match=r"expected|Input should be"):
        render([write(timeline_record(**wrong), kind="tune")])


def policy_record(policy: str, sla: str, qps: float, **changes: object) -> Record:
    return found_record("baseline", 1.0) | {
        "model": "rm1", "policy": policy, "label": f"{policy} {sla}", "sla": sla, "low_qps": qps,
        "high_qps": 1.05 * qps, "lanes": 2,
    } | changes  # fmt: skip


def load_at(policy: str, share: float, good_qps: float, p95_ms: float | None) -> Record:
    ends = {"value": p95_ms, "low": p95_ms, "high": p95_ms}
    latency_ns = {"p95": {k: v and v * MS for k, v in ends.items()}}
    return {
        "record": "at_load", "model": "rm1", "policy": policy, "lanes": 2, "sla": "p95<=100ms",
        "rate_qps": 100 * share, "of_qps_at_sla": share, "goodput_qps": good_qps,
        "goodput_rows": 10 * good_qps, "refused": 0.25, "longest_refusal_ms": 99.0,
        "latency_ns": latency_ns,
    }  # fmt: skip


def policy_records() -> list[Record]:
    return [
        policy_record(policy, f"p95<={ms}ms", base * ms)
        for policy, base in (("slack", 2.0), ("static", 1.0)) for ms in (50, 100, 150)
    ]  # fmt: skip


def test_a_line_for_each_policy(write: Write) -> None:
    root = page(write, *policy_records(), kind="policies")
    assert len(table(root, "QPS@SLA of rm1, 2 lanes")) == 6
    lines = [p for p in root.all("path") if p.attributes.get("class") in ("line s0", "line s1")]
    assert len(lines) == 2
    (ratio,) = table(root, "Ratios of QPS@SLA")
    assert ratio[0] == "slack / static" and ratio[2] == "2.00" and ratio[5] == "3"


def test_measured_and_simulated_are_told_apart(write: Write) -> None:
    simulated = [r | {"origin": "simulated", "lanes": 40} for r in policy_records()]
    root = page(write, *policy_records(), *simulated, kind="policies")
    settings = [h.text for h in root.all("h3") if h.attributes.get("class") == "setting"]
    assert settings == ["2 lanes measured", "40 lanes simulated"]
    assert [row[-1] for row in table(root, "Ratios of QPS@SLA")] == ["measured", "simulated"]


def test_policies_are_no_deployments(write: Write) -> None:
    root = page(write, *policy_records(), kind="policies")
    headings = [h.text for h in root.all("h2")]
    assert "QPS@SLA" not in headings and "Policies: QPS@SLA against the SLA" in headings


def test_goodput_and_latency_against_the_offered_load(write: Write) -> None:
    loads = [load_at("slack", 1.0, 100.0, 90.0), load_at("slack", 2.0, 95.0, None)]
    root = page(write, *policy_records(), *loads, kind="policies")
    rows = table(root, "Goodput of rm1, 2 lanes, p95\u00a0≤\u00a0100\u00a0ms")
    assert [row[4] for row in rows] == ["100%", "95%"]
    rows = table(root, "Latency of rm1, 2 lanes, p95\u00a0≤\u00a0100\u00a0ms")
    assert [row[3] for row in rows] == ["90.0 (90.0 to 90.0)", "∞"]


def test_small_queries_beside_a_large_one_and_costs(write: Write) -> None:
    large = {"record": "large", "model": "rm1", "lanes": 2, "alone_p95_ms": 2.0,
             "among_p95_ms": 2.5, "ratio": 1.25}  # fmt: skip
    costs = {"record": "costs", "model": "rm1",
             "costs": {"busy": [1, 2], "service_us": [[1.0, 2.0], [3.0, 4.0]]}}  # fmt: skip
    root = page(write, *policy_records(), large, costs, kind="policies")
    assert table(root, "Small queries beside a large one") == [["rm1", "1.25 (2.50 / 2.00 ms)"]]
    assert table(root, "What batches take (µs)")[1][:3] == ["rm1", "2", "3.00"]


def test_models_side_by_side(write: Write) -> None:
    matrix = {
        "record": "colocation", "origin": "measured", "models": ["rm1", "wnd"], "rows": 128,
        "bytes_per_flop": [0.6, 0.01], "alone_us": [900.0, 500.0],
        "slowdown": [[1.3, 1.1], [1.05, 1.0]], "low": [[1.2, 1.0], [1.0, 1.0]],
        "high": [[1.4, 1.2], [1.1, 1.0]], "trend": "embedding-bound more: reproduced",
    }  # fmt: skip
    placed = {
        "record": "placement", "origin": "measured", "slas": {"rm1": "p95<=100ms"},
        "alone_qps": {"rm1": 100.0}, "demand": {"rm1": 1.0},
        "placements": [{
            "label": "recommended", "lanes": [["rm1"], []], "modelled_qps": {"rm1": 90.0},
            "scale": 0.9, "qps": {"rm1": 81.0}, "tail_ms": {"rm1": 88.0},
        }],
    }  # fmt: skip
    root = page(write, matrix, placed, kind="bench")
    rows = table(root, "Slowdown beside another model, 128 rows per batch")
    assert rows[0][-2:] == ["1.30 (1.20 to 1.40)", "1.10 (1.00 to 1.20)"]
    assert table(root, "Placement")[0][:3] == ["recommended", "rm1", "0"]
    assert "Embedding-bound more: reproduced." in [p.text for p in root.all("p")]
