"""The main job, end to end, with a short tuning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recstack import results
from recstack.tune import read_deployment

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("model", ["wnd"])
def test_quickstart(model: str, tmp_path: Path) -> None:
    pytest.importorskip("uvloop")
    done = subprocess.run(
        [sys.executable, "-c", "from recstack.cli import main; main()", "quickstart",
         "--model", model, "--out", str(tmp_path / "out"), "--budget-s", "1", "--json"],
        capture_output=True, text=True, cwd=ROOT, timeout=170, check=False,
    )  # fmt: skip
    # 1: no rate met the target, which a machine busy with other tests may bring about.
    assert done.returncode in (0, 1), done.stderr
    records = json.loads(done.stdout)
    (accuracy,) = [r for r in records if r["record"] == "accuracy"]
    assert accuracy["auc"] == pytest.approx(accuracy["torch_auc"], abs=1e-6)
    assert accuracy["auc"] > accuracy["baseline_auc"]
    kept = results.read(tmp_path / "out" / "quickstart.jsonl", "quickstart")
    sorts = {r["record"] for r in kept.records}
    # Lanes are traced only at a rate that met the target.
    assert sorts - {"timeline"} == {"accuracy", "qps_at_sla", "load", "stages", "null"}
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()
    deployment, served = read_deployment(tmp_path / "out" / "plan.toml")
    assert served.name == model
    assert deployment.sla == "p95<=10ms"
