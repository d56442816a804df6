from __future__ import annotations

from typing import Any

from recstack.report import render
from tests.report.conftest import Write
from tests.report.structure import Element, table
from tests.report.test_page import HOSTILE, check


def search_record(**changes: Any) -> dict[str, Any]:
    harm = {"value": 1e-4, "low": -2e-4, "high": 4e-4}
    far = {"value": 0.4, "low": -0.7, "high": 2.0}
    return {
        "record": "precision", "origin": "measured", "model": "wnd", "metric": "ne",
        "budget": "0.0500%", "limit": 5e-4, "relative": True, "verdict": "proven",
        "reason": "ne 0.7 -> 0.70007", "objective": "memory", "unit": "bytes",
        "tried": [{"rows": "search", "cost": 100.0, "outcome": "unproven", "harm": far},
                  {"rows": "proof", "cost": 130.0, "outcome": "within", "harm": harm}],
        "chosen": [{"name": "movie.weight", "kind": "table", "precision": "int4", "cost": 36.0,
                    "fp32_cost": 256.0, "note": "alone moves scores by 1e-7"}],
        "bytes": [1000, 280], "ns": [2000.0, 1000.0], "rows": 64,
    } | changes  # fmt: skip


def op_record(**changes: Any) -> dict[str, Any]:
    return {
        "record": "op_error", "origin": "measured", "name": "relu_1", "kind": "linear",
        "unit": "relu_1", "precision": "int8", "total": {"sqnr_db": 5.4, "largest": 2.38},
        "own": {"sqnr_db": 5.3, "largest": 2.4}, "saturation": 0.25, "columns": [17],
        "values": {"low": -1.0, "high": 1.0, "reference": [3, 1], "quantised": [4, 0]},
    } | changes  # fmt: skip


def page(write: Write, *records: dict[str, Any]) -> Element:
    return check(render([write(*records, kind="quantize")]))


def test_a_search_shows_its_verdict_its_plans_and_what_was_chosen(write: Write) -> None:
    root = page(write, search_record())
    text = root.text
    assert "proven within the budget" in text
    assert "1,000 B, 280 B (28%)" in text and "2.00 µs, 1.00 µs (50%)" in text
    assert table(root, "Chosen precisions of wnd") == [
        ["movie.weight", "table", "int4", "36 B", "256 B", "alone moves scores by 1e-7"]
    ]
    rows = table(root, "Plans tried: wnd, ne")
    assert [row[0] for row in rows] == ["1", "2"]
    assert rows[1][1:] == ["proof", "1.000e-04", "-2.000e-04", "4.000e-04", "130", "within"]


def test_what_was_not_proven_says_why(write: Write) -> None:
    text = page(write, search_record(verdict="too_small", ns=None, reason="20 groups")).text
    assert "not proven: the data are too small" in text and "20 groups" in text


def test_ops_are_listed_worst_first_and_drawn_where_they_are_off(write: Write) -> None:
    exact = {"sqnr_db": 200.0, "largest": 0.0}
    root = page(write, op_record(), op_record(name="cat", unit="", precision="", own=None,
                saturation=None, columns=[], total=exact),
                op_record(name="wide", unit="wide", own=exact, total=exact))  # fmt: skip
    assert "relu_1, int8" in root.text and "wide, int8" not in root.text
    rows = table(root, "Ops against fp32")
    assert rows[0] == ["relu_1", "linear", "relu_1", "int8", "5.3", "2.40", "5.4", "2.38", "25%",
                       "17"]  # fmt: skip
    assert rows[1][1:] == ["linear", "–", "–", "–", "–", "∞", "0", "–", "–"]
    assert table(root, "Values of relu_1") == [["-1", "3", "4"], ["0", "1", "0"]]


def test_names_cannot_break_the_page(write: Write) -> None:
    page(write, search_record(model=HOSTILE, reason=HOSTILE), op_record(name=HOSTILE, unit=HOSTILE))
