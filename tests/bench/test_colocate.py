from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import recstack as rs
from recstack import results
from recstack.bench.colocate import ColocateConfig, Matrix, bytes_per_flop, measure
from recstack.bench.colocate_serve import Traffic, alone_qps, verify
from recstack.bench.placement import Placement
from recstack.cli.app import app
from recstack.errors import ConfigError
from recstack.loadtest import SLA, Found, sizes
from recstack.report.records import Placed

CORES = sorted(os.sched_getaffinity(0))
two_cores = pytest.mark.skipif(len(CORES) < 2, reason="needs two cores")


Ratios = tuple[tuple[float, ...], ...]


def matrix(slowdown: Ratios, shares: tuple[float, ...], high: Ratios | None = None) -> Matrix:
    return Matrix(("m", "n"), 64, shares, (10.0, 20.0), slowdown, slowdown, high or slowdown)


def test_the_trend_compares_classes() -> None:
    more = matrix(((1.4, 1.2), (1.1, 1.0)), (0.8, 0.01))
    assert "embedding-bound (m) 1.296x" in more.trend()
    assert more.trend().endswith(": reproduced")
    noisy = matrix(((1.1, 1.1), (1.0, 1.0)), (0.8, 0.01), ((1.3, 1.3), (1.3, 1.3)))
    assert "within the spread" in noisy.trend()
    assert matrix(((1.0, 1.0), (1.1, 1.2)), (0.8, 0.01)).trend().endswith("not reproduced")
    assert "no comparison" in matrix(((1.0, 1.0), (1.0, 1.0)), (0.8, 0.5)).trend()


def test_the_published_classes_follow_from_shapes() -> None:
    outlines = {m: rs.zoo.outline(m) for m in ("rm1", "rm2", "rm3", "wnd")}
    bound = {m for m, model in outlines.items() if bytes_per_flop(model, 128) >= 0.1}
    assert bound == {"rm1", "rm2"}


@two_cores
def test_a_matrix_is_measured() -> None:
    models = {m: rs.zoo.build(m, rows_scale=0.001) for m in ("ncf", "rm1")}
    found = measure(models, ColocateConfig(rows=16, rounds=1, round_s=0.02), CORES)
    assert all(0.1 < x < 100 for row in found.slowdown for x in row)
    assert all(t > 0 for t in found.alone_us)
    assert found.to_record()["models"] == ("ncf", "rm1")
    with pytest.raises(ConfigError, match="two cores"):
        measure(models, ColocateConfig(), CORES[:1])


@two_cores
def test_a_placement_that_promises_too_much_is_scaled_back() -> None:
    engine = rs.compile(rs.zoo.build("ncf", rows_scale=0.001))
    placed = Placement((("ncf",), ()), 1.0, {"ncf": 100.0}, (1.0, 0.0))
    traffic = Traffic(sizes.Fixed(4), seconds=0.2)
    held = verify(placed, {"ncf": engine}, {"ncf": SLA(50.0, 10**9)}, CORES, traffic)
    assert (held.scale, held.qps["ncf"]) == (1.0, 100.0)
    never = verify(placed, {"ncf": engine}, {"ncf": SLA(50.0, 1)}, CORES, traffic)
    assert (never.scale, never.qps["ncf"]) == (0.0, 0.0)


@two_cores
def test_two_models_are_verified_side_by_side() -> None:
    """One that cannot hold its limit takes the rates of both back; without it they hold."""
    models = ("ncf", "rm1")
    engines = {m: rs.compile(rs.zoo.build(m, rows_scale=0.001)) for m in models}
    placed = Placement((models, ("rm1",)), 2.0, {"ncf": 600.0, "rm1": 400.0}, (0.5, 0.5))
    traffic = Traffic(sizes.Fixed(4), seconds=0.2)
    easy = SLA(50.0, 10**9)
    held = verify(placed, engines, dict.fromkeys(models, easy), CORES, traffic)
    assert (held.scale, held.qps) == (2.0, placed.qps)
    assert set(held.tail_ms) == set(models) and all(t > 0 for t in held.tail_ms.values())
    told: list[str] = []
    slas = {"ncf": easy, "rm1": SLA(50.0, 1)}
    never = verify(placed, engines, slas, CORES, traffic, told.append)
    assert (never.scale, never.qps) == (0.0, {"ncf": 0.0, "rm1": 0.0})
    assert all("rm1 missed" in line for line in told)
    assert any(line.startswith("0.50 ") for line in told), "the demand itself is tried"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command's path with short runs."""
    short = Traffic(sizes.Fixed(4), seconds=0.05, most_queries=100)
    monkeypatch.setattr("recstack.cli.colocate.Traffic", lambda *sizes, **given: short)


def bench(*arguments: str) -> Result:
    given = ("--rows-scale", "0.001", "--rounds", "1", "--round-ms", "20", *arguments)
    return CliRunner().invoke(app, ["bench", "--colocate", "ncf,rm1", *given])


@two_cores
def test_the_command_places_two_models(quick: None, tmp_path: Path) -> None:
    """A demand that is served ends with 0, one that is not with 1."""
    ends = {}
    for rate in ("1", "1e9"):
        demand = f"ncf={rate},rm1={rate}"
        done = bench("--sla", "p50<=1s", "--demand", demand, "--out", str(tmp_path))
        ends[rate] = done.exit_code
        matrix, placed, null = results.read(tmp_path / "colocate.jsonl").records
        assert matrix["record"] == "colocation" and null["record"] == "null"
        labels = [p["label"] for p in placed["placements"]]
        assert labels == ["recommended", "all on every lane"]
        assert placed["hopeless"] == [] and "the best of all" in done.stdout
        Placed.model_validate(placed)
    assert ends == {"1": 0, "1e9": 1}


@two_cores
def test_a_model_that_misses_its_target_alone_is_told_and_the_rest_placed(
    quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The matrix is on disk before anything is placed."""
    real, calls = alone_qps, []

    def alone(engine: rs.Engine, core: int, sla: SLA, *more: object) -> Found:
        matrix = results.read(tmp_path / "colocate.jsonl").records
        assert [r["record"] for r in matrix] == ["colocation"]
        calls.append(engine.model.name)
        limit = 1 if engine.model.name == "rm1" else sla.limit_ns
        return real(engine, core, SLA(sla.percentile, limit), *more)

    monkeypatch.setattr("recstack.cli.colocate.alone_qps", alone)
    done = bench("--sla", "p50<=1s", "--out", str(tmp_path))
    assert done.exit_code == 1 and calls == ["ncf", "rm1"]
    assert "rm1 misses p50<=1s alone" in " ".join(done.stdout.split())
    placed = results.read(tmp_path / "colocate.jsonl").records[1]
    assert placed["hopeless"] == ["rm1"]
    assert set(placed["placements"][0]["qps"]) == {"ncf"}
    Placed.model_validate(placed)
