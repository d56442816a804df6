"""The verbs as a user calls them: a process, its output, its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recstack.machine import Peaks, save_peaks
from recstack.results import fingerprint
from tests.profile.machine import machine

MODULE = """
import torch
def small():
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), (torch.randn(2, 4),)
"""


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from recstack.cli import main; main()", *arguments],
        capture_output=True, text=True, cwd=cwd, timeout=120, check=False,
        env={**os.environ, "COLUMNS": "160", **environment},
    )  # fmt: skip


def data(done: subprocess.CompletedProcess[str]) -> object:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_zoo_lists_builds_and_saves(tmp_path: Path) -> None:
    listed = data(run("zoo", "--json", cwd=tmp_path))
    assert {"ncf", "rm1", "rm2", "rm3", "wnd", "mt-wnd", "din", "dien"} <= {
        e["name"] for e in listed
    }
    text = run("zoo", cwd=tmp_path)
    assert "dlrm-dcnv2" in text.stdout
    built = data(run("zoo", "ncf", "--rows-scale", "0.001", "--out", "m", "--json", cwd=tmp_path))
    assert built["folder"] == "m"
    described = data(run("describe", "m", "--rows", "64", "--json", cwd=tmp_path))
    assert described["rows"] == 64


def test_describe_needs_no_memory_for_a_preset(tmp_path: Path) -> None:
    described = data(run("describe", "rm2", "--json", cwd=tmp_path))
    assert described["row"]["lookups"] == 3840
    assert "embedding_bag" in run("describe", "rm2", cwd=tmp_path).stdout


def test_describe_folds_equal_tables(tmp_path: Path) -> None:
    text = run("describe", "din:deeprecsys", cwd=tmp_path).stdout
    assert "bag_[1..250] x 250" in text
    assert len(text.splitlines()) < 30


def test_describe_cuts_nothing_in_a_pipe(tmp_path: Path) -> None:
    text = run("describe", "dien", cwd=tmp_path).stdout
    table = [line for line in text.splitlines() if " embedding_bag " in line]
    assert all(line.strip().split()[0] != "embedding_bag" for line in table)
    assert any("160,000,000" in line for line in table)
    assert "1 rows, 1 queries" in text and "several ops read" in text


def test_describe_gives_the_floor_of_stored_peaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSTACK_HOME", str(tmp_path))
    arguments = ("describe", "rm2", "--floor", "--rows", "64")
    refused = run(*arguments, cwd=tmp_path)
    assert refused.returncode == 2 and "recstack doctor --peaks" in refused.stderr
    save_peaks(Peaks(**{**dict(machine()), "machine": fingerprint()}))
    text = run(*arguments, cwd=tmp_path).stdout
    assert "bag_[0..31] x 32" in text and "one op after another" in text
    found = data(run(*arguments, "--json", cwd=tmp_path))["floor"]
    assert found["rows"] == 64 and found["bound"] == "gather"
    # 3840 lookups a row of 256 bytes: twice the 12 ns measured for 128.
    assert found["gather_ns"] == pytest.approx(64 * 3840 * 24.0)


def test_doctor_lists_instruction_sets(tmp_path: Path) -> None:
    found = data(run("doctor", "--json", cwd=tmp_path))
    assert found["instruction_sets"]["scalar"]
    forced = data(run("doctor", "--json", cwd=tmp_path, RECSTACK_ISA="scalar"))
    assert forced["chosen"] == "scalar"


def test_bench_times_one_batch(tmp_path: Path) -> None:
    arguments = ("ncf", "--rows-scale", "0.001", "--batch", "2", "--rounds", "1", "--json")
    (timing,) = data(run("bench", *arguments, cwd=tmp_path))
    assert timing["rows"] == 2
    assert timing["origin"] == "measured"


def test_import_saves_and_shows_coverage(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "mine.py").write_text(MODULE)
    done = data(run("import", "mine:small", "--out", "m", "--json", cwd=tmp_path))
    assert (tmp_path / "m" / "model.json").exists()
    assert all(line["imported_as"] != "opaque" for line in done["coverage"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("describe", "nothing"), "expected a model folder or one of ncf"),
        (("bench", "ncf", "--batch", "x"), "expected --batch"),
        (("bench", "ncf", "--batch", "1,99999999999"), "each from 1 to"),
        (("bench", "ncf", "--threads", "1025"), "each from 1 to 1024"),
        (("bench", "ncf", "--rows-scale", "0.001", "--isa", "nope"), "got 'nope'"),
        (("tune", "nothing"), "expected a model folder"),
        (("load", "plan.toml"), "cannot read plan.toml"),
        (("serve", "plan.toml"), "cannot read plan.toml"),
        (("quickstart",), "run this in a recstack clone"),
        (("report", "none.jsonl"), "none.jsonl"),
        (("import", "mine", "--out", "m"), "MODULE:FUNCTION"),
        (("load", "ncf", "--rows-scale", "0.001", "--sla", "fast"), "fast"),
        (("load", "ncf", "--rows-scale", "0.001", "--arrivals", "gamma"), "expected gamma:cv=CV"),
        (("mlperf", "ncf", "--scenario", "edge"), "expected --scenario server | offline"),
        (("describe", "--nonsense"), "No such option"),
        (("doctor", "--json"), ""),
    ],
)
def test_bad_usage_is_one_sentence_and_exit_code_2(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    isa = "" if message else "nope"
    done = run(*arguments, cwd=tmp_path, RECSTACK_ISA=isa)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_a_bad_plan_names_file_and_place(tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('model = "m"\n[schedule]\nlane = 2\n')
    done = run("serve", "plan.toml", cwd=tmp_path)
    assert done.returncode == 2
    assert "schedule.lane" in done.stderr
    (tmp_path / "plan.toml").write_text("model = ")
    assert "expected TOML" in run("serve", "plan.toml", cwd=tmp_path).stderr


def test_load_in_process_reports_latency(tmp_path: Path) -> None:
    arguments = ("ncf", "--rows-scale", "0.001", "--qps", "50", "--seconds", "1", "--sizes",
                 "recycled:32,fixed:8", "--arrivals", "deeprecsys", "--indices", "zipf:0.9",
                 "--sla", "p95<=500ms", "--out", "r.jsonl", "--json")  # fmt: skip
    done = run("load", *arguments, cwd=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    summary = json.loads(done.stdout)
    assert summary["statuses"] == {"ok": 50 - summary["warmup"]}
    assert "compatibility" in summary["arrivals"] and "compatibility" in summary["sizes"]
    assert {"inline", "threaded", "dispatcher"} == set(summary["null"]["latency_ns"])
    found = summary["latency_ns"]["p50"]
    assert found["low"] <= found["value"] <= found["high"]
    page = run("report", "r.jsonl", "--out", "r.html", cwd=tmp_path)
    assert page.returncode == 0, page.stderr
    assert "<svg" in (tmp_path / "r.html").read_text()
