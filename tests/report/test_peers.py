from __future__ import annotations

from pathlib import Path
from typing import Any

from recstack import results
from recstack.report import render


def cell(rows: int, **times: float | None) -> dict[str, Any]:
    found = [
        {"contender": name, "status": "ok" if us else "missing", "us": us,
         "reason": "" if us else "no package"}
        for name, us in times.items()
    ]  # fmt: skip
    return {"origin": "measured", "record": "cell", "model": "rm9", "rows": rows, "threads": 2,
            "isa": "auto", "inputs": "uniform", "found": found}  # fmt: skip


def test_cells_show_times_ratios_and_why_a_peer_has_none(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    records = [cell(16, recstack=40.0, torch=100.0, aoti=90.0),
               cell(1, recstack=10.0, torch=25.0, aoti=None)]  # fmt: skip
    results.write(path, "bench", records, seed=0)
    page = render([path])
    assert "rm9, 2 threads, uniform indices" in page
    assert "aoti: missing, no package" in page
    first, second = page.index(">2.50<"), page.index(">2.25<")  # in the order of rows
    assert first < second
    assert "does not know what these are" not in page


def test_without_peers_there_is_no_ratio(tmp_path: Path) -> None:
    path = tmp_path / "cells.jsonl"
    results.write(path, "bench", [cell(1, recstack=10.0)], seed=0)
    assert "Against peers" in render([path])
