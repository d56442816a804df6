"""`recstack accelerator`: recorded curves, and one measured here."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from recstack.cli.app import app
from recstack.simulate import find_costs


def run(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["accelerator", *args])
    return done.exit_code, done.stdout or str(done.exception)


def test_a_recorded_curve_is_shown_with_its_origin() -> None:
    code, text = run("rm1:deeprecsys")
    assert code == 0 and "rm1:deeprecsys on gtx-1080-ti (simulated)" in text
    assert "IISWC 2020" in text and "assumed: " in text
    code, text = run("rm1", "--json")
    assert json.loads(text)["origin"] == json.loads(text)["costs"]["origin"] == "simulated"


def test_a_measured_file_takes_the_recorded_ones_place(tmp_path: Path) -> None:
    out = tmp_path / "cpu.json"
    common = ("--measure", "cpu", "--largest-rows", "32", "--seconds", "0.1", "--out", str(out))
    for model in ("ncf", "wnd"):
        code, text = run(model, *common, "--rows-scale", "0.001")
        assert code == 0 and f"{model} on cpu (measured)" in text
    device, costs = find_costs(str(out), "wnd")
    assert (device.name, device.origin, list(device.costs)) == ("cpu", "measured", ["ncf", "wnd"])
    assert device.watts is None and costs.largest_rows == 32
    code, text = run("ncf", "--device", str(out))
    assert code == 0 and "ncf on cpu (measured)" in text
    code, text = run("ncf", "--out", str(out))
    assert "expected a file of gtx-1080-ti, simulated, got cpu, measured" in text


def test_a_machine_without_the_device_is_told_so() -> None:
    code, text = run("ncf", "--measure", "cuda:99", "--rows-scale", "0.001")
    assert code != 0 and "expected a GPU for device 'cuda:99'" in text
