"""`bench/policies.py`: which cells are run, and what is kept."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from recstack.cli.policies import simulated_setting
from recstack.loadtest.sizes import Fixed
from recstack.schedule import Costs

FOLDER = Path(__file__).parents[2] / "bench"


@pytest.fixture(scope="module")
def policies() -> ModuleType:
    """The script as a module."""
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location("policies_script", FOLDER / "policies.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FOLDER))


ARGS = argparse.Namespace(slas="1", policies="static,deeprecsched,slack", traces="", repeat=False)


def setting(live: bool) -> Any:
    costs = Costs(busy=(1,), service_us=(tuple(100.0 + 2**k for k in range(11)),))
    made = simulated_setting(costs, 2, Fixed(1000), model="ncf", engine="torch")
    made = replace(made, least=300, most=300, tolerance=0.1)
    return replace(made, expected=made) if live else made


@pytest.mark.parametrize("live", [False, True])
def test_after_an_interruption_live_policies_are_run_in_turns_again(
    policies: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    monkeypatch.setattr(
        policies, "null_record", lambda rate: {"record": "null", "origin": "measured"}
    )
    cells = policies.Cells(tmp_path / "p.jsonl", 0)
    policies.fill(setting(live), cells, ARGS)
    whole = [r for r in cells.records if r["record"] == "qps_at_sla"]
    assert [r["policy"] for r in whole] == ARGS.policies.split(",")
    cells.records = [r for r in cells.records if r.get("policy") != "slack"]
    asked = []
    real = policies.compare

    def compare(given: Any, names: list[str], *rest: Any) -> Any:
        asked.append(list(names))
        return real(given, names, *rest)

    monkeypatch.setattr(policies, "compare", compare)
    policies.fill(setting(live), cells, ARGS)
    assert asked == [ARGS.policies.split(",") if live else ["slack"]]
    again = [r for r in cells.records if r["record"] == "qps_at_sla"]
    assert sorted(r["policy"] for r in again) == ["deeprecsched", "slack", "static"]
    loads = [r for r in cells.records if r["record"] == "at_load"]
    assert len(loads) == 5 * len(again), "those of the first run are replaced"


def test_live_cells_are_repeated_once(
    policies: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        policies, "null_record", lambda rate: {"record": "null", "origin": "measured"}
    )
    cells = policies.Cells(tmp_path / "p.jsonl", 0)
    args = argparse.Namespace(**{**vars(ARGS), "policies": "static,slack", "repeat": True})
    for _ in range(2):
        policies.fill(setting(live=True), cells, args)
    found = [r for r in cells.records if r["record"] == "repeat"]
    assert [r["policy"] for r in found] == ["static", "slack"]
    assert all(r["ratio"] == pytest.approx(max(r["qps"]) / min(r["qps"])) for r in found)
    text = policies.render(cells.records)
    assert "of 2 cells within 5%" in text
    assert [r["record"] for r in cells.records].count("null") == 1
