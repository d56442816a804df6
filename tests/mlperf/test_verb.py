"""`recstack mlperf` as a user calls it, and its result file as a page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from recstack import load, zoo
from recstack.cli.mlperf import smaller

pytest.importorskip("mlperf_loadgen", reason="needs mlcommons-loadgen: recstack[mlperf]")


def recstack(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = "from recstack.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
    )  # fmt: skip


def test_only_the_benchmarks_own_model_is_at_full_size(tmp_path: Path) -> None:
    model = zoo.build("dlrm-dcnv2", rows_scale=1e-4)
    model.save(tmp_path / "dlrm-dcnv2-mine")
    zoo.build("ncf", rows_scale=1e-4).save(tmp_path / "dlrm-dcnv2-other")
    assert list(smaller(load(tmp_path / "dlrm-dcnv2-mine"))) == ["table rows"]
    assert smaller(load(tmp_path / "dlrm-dcnv2-other")) == {"model": "ncf"}


def test_the_verb_says_unofficial_and_what_is_scaled(tmp_path: Path) -> None:
    arguments = ("mlperf", "ncf", "--rows-scale", "0.0001", "--scenario", "offline", "--seconds",
                 "0.2", "--samples", "16", "--min-samples", "32")  # fmt: skip
    done = recstack(*arguments, "--json", "--out", "r.jsonl", "--logs", "logs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["label"] == "unofficial" and record["valid"]
    assert record["verdict"].startswith("VALID at a reduced scale (unofficial): table rows, model")
    assert record["metric"] > 0
    assert (tmp_path / "logs" / "mlperf_log_summary.txt").exists()
    page = recstack("report", "r.jsonl", "--out", "r.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "unofficial" in (tmp_path / "r.html").read_text()
