from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack import results
from recstack.bench import BenchConfig, Cell, Store, bench, read_cells, run
from recstack.bench.contender import Contender, Setting
from recstack.bench.contenders import chosen, prepare
from recstack.bench.floors import beside_floor
from recstack.bench.table import render
from recstack.errors import ConfigError, DataError, RecstackError
from recstack.model import Model, zoo
from recstack.profile.floor import floor
from tests.profile.machine import machine

MODEL = zoo.build("ncf", variant="deeprecsys", rows_scale=0.001)


def config(tmp_path: Path, **changes: Any) -> BenchConfig:
    plain = {"rows": (1, 2), "rounds": 2, "round_s": 0.002, "most_batches": 4}
    return BenchConfig(**{**plain, "cache": tmp_path / "cache", **changes})


def test_a_cell_holds_every_contender(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first, second = bench(MODEL, config(tmp_path, peers=("torch",), threads=(1,)))
    assert (first.rows, second.rows) == (1, 2)
    assert [f.contender for f in first.found] == ["recstack", "torch"]
    assert all(f.us and f.p99_us and len(f.samples_ns) == 2 for f in first.found)
    assert first.ratio == pytest.approx(first.found[1].us / first.found[0].us)  # type: ignore
    assert first.spread is not None and first.spread >= 1
    assert first.steady_spread is not None and first.steady_spread >= 1
    assert first.as_dict()["best_peer"] == "torch"


def test_a_missing_package_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "recstack.bench.contenders.onnxruntime", raising=False)
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,), peers=("onnxruntime",)))
    assert cell.found[1].status == "missing"
    assert "recstack[bench]" in cell.found[1].reason
    assert cell.ratio is None
    assert "missing" in render([cell])


class Wrong:
    """recstack, off by a little."""

    name = "wrong"

    def __init__(self, inner: Contender, by: float) -> None:
        self.inner, self.by = inner, by
        self.version, self.stage, self.turn = inner.version, inner.stage, inner.turn

    def run(self, staged: Any) -> Any:
        if np.isnan(self.by):
            raise ValueError("cannot\nrun")
        return self.inner.run(staged)

    def scores(self, result: Any) -> Any:
        return self.inner.scores(result) + np.float32(self.by)


def with_wrong(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    def made(name: str, model: Model, setting: Setting) -> Contender:
        own = prepare("recstack", model, setting)
        return Wrong(own, by) if name == "openvino" else own

    monkeypatch.setattr(run, "prepare", made)


def test_a_peer_that_disagrees_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_wrong(monkeypatch, 1e-3)
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,), peers=("torch", "openvino")))
    assert [f.status for f in cell.found] == ["ok", "ok", "disagrees"]
    assert cell.found[2].us is None and "0.001" in cell.found[2].reason
    with pytest.raises(RecstackError, match="expected equal scores"):
        bench(MODEL, config(tmp_path, rows=(1,), peers=("openvino",)))


def test_a_peer_that_fails_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_wrong(monkeypatch, float("nan"))
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,), peers=("openvino",)))
    assert (cell.found[1].status, cell.found[1].reason) == ("failed", "ValueError: cannot")


def test_a_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "out", seed=0)
    (done,) = bench(MODEL, config(tmp_path, rows=(2,)), store)
    reports: list[str] = []
    cells = bench(MODEL, config(tmp_path, rows=(1, 2)), store, reports.append)
    assert cells[1] == done
    assert reports == ["ncf-deeprecsys: 1 rows, 1 thread(s)"]
    (path,) = (tmp_path / "out").iterdir()
    assert path.name == "ncf-deeprecsys-t1-auto-uniform.jsonl"
    assert read_cells(path) == cells
    with_wrong(monkeypatch, 0.0)
    more = bench(MODEL, config(tmp_path, rows=(2,), peers=("torch",)), store, reports.append)
    assert len(reports) == 2 and [f.contender for f in more[0].found] == ["recstack", "torch"]
    assert [c.rows for c in read_cells(path)] == [1, 2]


def test_cells_of_another_machine_are_not_mixed_in(tmp_path: Path) -> None:
    store = Store(tmp_path, seed=0)
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,)), store)
    other = results.fingerprint().model_copy(update={"cpu": "Other CPU"})
    path = store.path(cell)
    results.write(path, "bench", [cell.model_dump()], seed=0, machine=other)
    with pytest.raises(DataError, match="Other CPU"):
        bench(MODEL, config(tmp_path, rows=(1, 2)), store)
    assert read_cells(path) == [cell]


def test_a_peer_that_was_installed_since_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, reports = Store(tmp_path / "out", seed=0), []
    asked = config(tmp_path, rows=(1,), peers=("openvino",))
    with_wrong(monkeypatch, 0.0)
    monkeypatch.setitem(sys.modules, "openvino", None)
    (cell,) = bench(MODEL, asked, store)
    missing = cell.found[1].model_copy(update={"status": "missing"})
    store.put(cell.model_copy(update={"found": (cell.found[0], missing)}))
    bench(MODEL, asked, store, reports.append)
    assert reports == []
    monkeypatch.setitem(sys.modules, "openvino", sys)
    (cell,) = bench(MODEL, asked, store, reports.append)
    assert len(reports) == 1 and cell.found[1].status == "ok"


def test_other_scales_and_seeds_are_other_cells(tmp_path: Path) -> None:
    store = Store(tmp_path / "out", seed=0)
    reports: list[str] = []
    for changes in ({}, {"seed": 1}, {"rows_scale": 0.5}, {"inputs": "zipf"}, {}):
        bench(MODEL, config(tmp_path, rows=(1,), **changes), store, reports.append)
    assert len(reports) == 4


def test_nothing_is_compiled_where_that_is_not_wanted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    unwanted = config(tmp_path, rows=(1,), peers=("aoti", "compile"), may_compile=False)
    (cell,) = bench(MODEL, unwanted)
    assert [f.status for f in cell.found] == ["ok", "unsupported", "unsupported"]


def test_a_floor_needs_stored_peaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recstack.bench.floors.load_peaks", lambda: None)
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,)))
    assert cell.floor_us is None and cell.as_dict()["over_floor"] is None
    monkeypatch.setattr("recstack.bench.floors.load_peaks", lambda: machine(threads=(1,)))
    (cell,) = bench(MODEL, config(tmp_path, rows=(1,)))
    assert cell.floor_us == pytest.approx(floor(MODEL, 1, 1, machine()).ns / 1e3)
    assert cell.roofline is not None and cell.roofline["measured_us"] == cell.own.us
    assert beside_floor(MODEL, 1, 1, "unmeasured", 1.0) == {}


def test_rooflines_are_stored_beside_the_cells(tmp_path: Path) -> None:
    store = Store(tmp_path, 0)
    cell = Cell.model_validate(
        {"model": "m", "rows": 1, "threads": 1, "isa": "auto", "inputs": "uniform",
         "rows_scale": 1, "seed": 0, "git": "", "batches": 1, "cold_bytes": 0, "found": (),
         "roofline": {"origin": "measured", "record": "roofline"}}
    )  # fmt: skip
    store.put(cell)
    records = results.read(store.path(cell)).records
    assert [r["record"] for r in records] == ["cell", "roofline"]
    assert read_cells(store.path(cell)) == [cell]


def test_peers_are_chosen_by_name() -> None:
    assert chosen("none") == ()
    assert chosen("all") == ("torch", "compile", "aoti", "onnxruntime", "openvino", "fbgemm")
    with pytest.raises(ConfigError, match="got 'tvm'"):
        chosen("torch,tvm")


def test_forced_avx2_holds_torch_in_a_fresh_process(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    code = (
        "from recstack.bench.isa import hold_process; hold_process('avx2')\n"
        "import torch; print(torch.backends.cpu.get_cpu_capability())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "AVX2"


def test_avx2_is_refused_once_a_peer_is_loaded() -> None:
    pytest.importorskip("torch")
    from recstack.bench.isa import hold_process

    hold_process("auto")
    with pytest.raises(ConfigError, match="fresh process"):
        hold_process("avx2")
    with pytest.raises(ConfigError, match="auto or avx2"):
        hold_process("scalar")


def test_a_precision_plan_is_timed_and_answers_for_itself_alone(tmp_path: Path) -> None:
    plan = tmp_path / "precision.toml"
    store = Store(tmp_path / "out", 0)

    def measured(text: str) -> tuple[Cell, list[str]]:
        plan.write_text(f"format = 1\n{text}")
        asked: list[str] = []
        given = config(tmp_path, rows=(3,), peers=("recstack_plan",), plan=plan)
        (cell,) = bench(MODEL, given, store, asked.append)
        return cell, asked

    low, asked = measured('[tables]\ndefault = "int4"\n[layers]\ndefault = "int8"\n')
    assert low.found[1].status == "ok" and low.found[1].us
    assert 0 < low.found[1].error < 0.05
    assert asked and low.plan.startswith("precision.toml ")
    exact, asked = measured('[tables]\ndefault = "fp32"\n')
    assert asked and exact.found[1].error == 0
    with pytest.raises(ConfigError, match="format"):
        measured("[layers]\nformat = 2\n")
