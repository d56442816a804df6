from __future__ import annotations

import pytest

from recstack.errors import DataError
from recstack.report import render
from recstack.report.records import Timeline
from recstack.report.timeline import waits
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


def test_a_wait_is_put_down_to_what_the_lanes_ran() -> None:
    first, second, third = waits(Timeline.model_validate(timeline_record()))
    assert (first.query, first.wait_ns, first.larger, first.smaller) == (1, 8 * MS, 1.0, 0.0)
    assert (second.query, second.wait_ns) == (2, MS)
    assert (second.larger, second.smaller, second.idle) == (0.0, 0.5, 0.5)
    assert (third.query, third.wait_ns) == (0, 0)


def test_chunks_of_one_merged_batch_take_a_lane_once() -> None:
    merged = timeline_record(
        chunk_query=[0, 1, 2], chunk_lane=[0, 0, 0], lanes=1, chunk_start_ns=[0, 0, 10 * MS],
        chunk_end_ns=[10 * MS, 10 * MS, 12 * MS], arrival_ns=[0, 0, 0], rows=[5, 50, 10],
    )  # fmt: skip
    last = waits(Timeline.model_validate(merged))[0]
    assert (last.query, last.larger, last.smaller) == (2, 0.5, 0.5)


def test_the_timeline_of_a_run(write: Write) -> None:
    root = page(write, timeline_record())
    assert table(root, "Longest waits of fixed")[0][1:] == ["10", "8.00", "100%", "0%", "0%"]
    titles = [t.text for t in root.all("title")]
    assert "query 1, 10 rows: waited 8 ms" in titles
    assert "query 0, 500 rows, 10 ms" in titles


@pytest.mark.parametrize(
    "wrong",
    [
        {"chunk_lane": [0, 1, 0, 2]},
        {"chunk_query": [0, 0, 1, 3]},
        {"rows": [1]},
        {"chunk_lane": [0]},
    ],
)
def test_a_timeline_that_does_not_fit_is_refused(write: Write, wrong: Record) -> None:
    with pytest.raises(DataError, match="expected"):
        render([write(timeline_record(**wrong), kind="tune")])


def policy_record(policy: str, sla: str, qps: float) -> Record:
    return found_record("baseline", 1.0) | {
        "model": "rm1", "policy": policy, "label": f"{policy} {sla}", "sla": sla, "low_qps": qps,
        "high_qps": 1.05 * qps,
    }  # fmt: skip


def test_a_line_for_each_policy(write: Write) -> None:
    records = [
        policy_record(policy, f"p95<={ms}ms", base * ms)
        for policy, base in (("static", 1.0), ("slack", 2.0)) for ms in (50, 100, 150)
    ]  # fmt: skip
    root = page(write, *records)
    (found,) = [t for t in root.all("caption") if t.text.startswith("QPS@SLA of rm1")]
    assert len(table(root, found.text)) == 6
    lines = [p for p in root.all("path") if p.attributes.get("class") in ("line s0", "line s1")]
    assert len(lines) >= 2
    one_limit = page(write, *records[:1])
    assert "QPS@SLA against the SLA" not in [h.text for h in one_limit.all("h2")]


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
