"""`recstack simulate` from a file of costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from recstack import results
from recstack.cli.app import app
from recstack.loadtest.outcome import from_record
from recstack.report import render
from recstack.schedule import Costs


@pytest.fixture
def costs(tmp_path: Path) -> str:
    path = tmp_path / "costs.json"
    Costs(busy=(1,), service_us=(tuple(8.0 + 6.0 * 2**k for k in range(11)),)).save(path)
    return str(path)


def run(*args: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["simulate", *args])
    return done.exit_code, done.stdout


def test_a_rate_is_held_against_the_sla_and_written(costs: str, tmp_path: Path) -> None:
    out = tmp_path / "run.jsonl"
    load = (costs, "--lanes", "4", "--queries", "5000", "--sla", "p95<=20ms", "--out", str(out))
    code, text = run(*load, "--qps", "1000")
    assert code == 0 and "simulated" in text
    stored = from_record(results.read(out, "load").records[0])
    assert stored.origin == "simulated" and stored.queries == 5000
    code, text = run(*load, "--qps", "20000", "--json")
    assert code == 1
    assert json.loads(text)["origin"] == "simulated" and json.loads(text)["utilisation"] > 0.9


def test_what_was_not_measured_of_many_lanes_is_said(tmp_path: Path) -> None:
    times = tuple(8.0 + 6.0 * 2**k for k in range(11))
    Costs(busy=(1, 2), service_us=(times, times)).save(tmp_path / "two.json")
    said = "28 lanes are taken to slow each other down no more than the 2 that were measured"
    for rest in (("--qps", "100", "--queries", "500"), ("--sla", "p95<=20ms")):
        source = (str(tmp_path / "two.json"), *rest)
        assert said in run(*source, "--lanes", "28")[1]
        assert json.loads(run(*source, "--lanes", "28", "--json")[1])["assumed"] == said
        assert "are taken to" not in run(*source, "--lanes", "2")[1]


def test_slack_on_an_accelerator_finds_a_higher_rate(costs: str, tmp_path: Path) -> None:
    gpu = tmp_path / "gpu.json"
    Costs(busy=(1,), service_us=(tuple(300.0 + 0.1 * 2**k for k in range(11)),)).save(gpu)
    search = (costs, "--lanes", "1", "--policy", "slack", "--sla", "p95<=5ms", "--json")
    code, alone = run(*search)
    assert code == 0
    code, both = run(*search, "--accelerator", str(gpu))
    assert code == 0
    found = [json.loads(text) for text in (alone, both)]
    assert found[0]["origin"] == "simulated"
    assert found[1]["low_qps"] > 1.5 * found[0]["low_qps"]


def test_policies_are_compared_for_a_page(costs: str, tmp_path: Path) -> None:
    out = tmp_path / "policies.jsonl"
    code, text = run(
        costs, "--lanes", "2", "--policies", "static,slack", "--sla", "p95<=20ms",
        "--sla-scale", "1,0.5", "--out", str(out), "--json",
    )  # fmt: skip
    assert code == 0
    printed = json.loads(text)
    stored = results.read(out, "policies").records
    found = [r for r in stored if r["record"] == "qps_at_sla"]
    assert [(r["policy"], r["sla"]) for r in found] == [
        ("static", "p95<=10ms"), ("slack", "p95<=10ms"), ("static", "p95<=20ms"),
        ("slack", "p95<=20ms"),
    ]  # fmt: skip
    assert all(r["origin"] == "simulated" for r in stored)
    assert [r["low_qps"] for r in printed if r["record"] == "qps_at_sla"] == [
        r["low_qps"] for r in found
    ]
    assert found[3]["low_qps"] > found[2]["low_qps"]
    # Past its highest rate slack keeps answering in time, and a fixed policy answers late.
    loads = {(r["policy"], r["sla"], r["of_qps_at_sla"]): r for r in stored
             if r["record"] == "at_load"}  # fmt: skip
    assert loads["slack", "p95<=20ms", 2.0]["goodput_qps"] > 0.9 * found[3]["low_qps"]
    assert loads["static", "p95<=20ms", 2.0]["goodput_qps"] < 0.5 * found[2]["low_qps"]
    traces = [r for r in stored if r["record"] == "timeline"]
    assert [r["policy"] for r in traces] == ["static", "slack"]
    page = render([out])
    assert "Policies: goodput against offered load" in page and "What queries waited for" in page


def test_policies_exclude_a_rate_and_unknown_names(costs: str) -> None:
    for wrong in (["all", "--qps", "1"], ["fifo"], ["all", "--sla-scale", "0"]):
        done = CliRunner().invoke(app, ["simulate", costs, "--policies", *wrong])
        assert done.exit_code != 0 and "expected --" in str(done.exception)


def test_a_recorded_accelerator_is_simulated_with_and_without(costs: str) -> None:
    search = (costs, "--lanes", "2", "--sla", "p95<=100ms", "--accelerator", "gtx-1080-ti:rm3")
    code, text = run(*search, "--policy", "deeprecsched")
    assert code == 0
    lines = text.splitlines()
    assert lines[0].startswith("chunk climbed by rows: 16: ")
    assert lines[1].startswith("threshold climbed by rows: 1: ")
    assert "+ 1 gtx-1080-ti from" in lines[2] and "without the accelerator" in lines[3]
    assert all("simulated" in line for line in lines)
    code, text = run(*search, "--policy", "fixed", "--json")
    found = json.loads(text)
    steps = found["accelerator"]["threshold_steps"]
    assert code == 0 and found["accelerator"]["origin"] == "simulated"
    assert found["low_qps"] == max(qps for _, qps in steps) > 0
    assert found["low_qps"] > found["accelerator"]["without"]["low_qps"]
    code, text = run(*search, "--policy", "fixed", "--threshold-rows", "64", "--json")
    assert json.loads(text)["accelerator"]["threshold_rows"] == 64


def test_a_model_without_a_recorded_curve_is_named(costs: str) -> None:
    args = ["simulate", costs, "--accelerator", "gtx-1080-ti", "--qps", "1"]
    done = CliRunner().invoke(app, args)
    assert "expected a model that gtx-1080-ti has a cost curve of (ncf, " in str(done.exception)


def test_bad_input_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    done = CliRunner().invoke(app, ["simulate", str(tmp_path / "bad.json"), "--qps", "1"])
    assert "busy" in str(done.exception)
