"""`bench/policies.py --table`, and files of its first form."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from recstack import results
from recstack.report import render

PATH = Path(__file__).parents[2] / "bench" / "policies_table.py"
SPEC = importlib.util.spec_from_file_location("policies_table", PATH)
assert SPEC and SPEC.loader
policies_table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(policies_table)


def first_form(policy: str, qps: float) -> dict[str, Any]:
    at = {"goodput_qps": qps, "goodput_rows": 2 * qps, "refused": 0.04, "longest_refusal_ms": 2.0}
    cell = {
        "record": "cell", "origin": "measured", "engine": "recstack", "lanes": 2, "model": "ncf",
        "sla": 0.5, "policy": policy, "qps": qps, "chunk_rows": 64, "steps": [], **at,
    }  # fmt: skip
    return cell | ({"overload": {"1.2": at, "2.0": at}} if policy == "slack" else {})


def test_cells_of_the_first_form_are_read_shown_and_resumed(tmp_path: Path) -> None:
    old = [first_form(p, q) for p, q in (("static", 10.0), ("deeprecsched", 11.0), ("slack", 22.0))]
    failed = first_form("static", 0.0) | {"model": "wnd"}
    for name in ("goodput_qps", "goodput_rows", "refused", "longest_refusal_ms"):
        del failed[name]
    new = policies_table.upgraded([*old, failed])
    cell = {"record": "qps_at_sla", "model": "ncf", "sla": "p95<=2500us", "policy": "slack"}
    (found,) = [r for r in new if cell.items() <= r.items()]
    assert found["low_qps"] == 22.0 and found["origin"] == "measured"
    assert policies_table.upgraded(new) == new
    text = policies_table.render(new)
    assert "## 2 lanes, measured" in text
    assert "| ncf | p95 ≤ 2.5 ms | 10.0 | 11.0 | 22.0 | 64 | 1.100 | 2.000 | 4.0% |" in text
    assert "slack / deeprecsched: geometric mean **2.000**" in text
    assert "2x 1.00 (least 1.00)" in text and "longest to a refusal 0.80 limits" in text
    results.write(tmp_path / "policies.jsonl", "policies", new, seed=0)
    assert "22.0" in render([tmp_path / "policies.jsonl"])
