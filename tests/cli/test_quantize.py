"""`recstack quantize` as a user calls it, on the bundled Wide & Deep."""

from __future__ import annotations

import errno
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import recstack as rs
from recstack.cli import debugged
from recstack.cli import quantize as cli
from recstack.cli.app import app
from recstack.errors import ConfigError, DataError, ModelFileError
from recstack.model import storage
from recstack.model.digest import model_digest
from recstack.precision.plan import read_plan
from recstack.tune import compile_deployment, read_deployment
from recstack.tune.deployment import read_reference
from tests.precision.movielens import COLUMN, EXAMPLE, LAYER, planted, ratings

WND = str(EXAMPLE / "models" / "wnd")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "wnd.safetensors"
    ratings("wnd")[1].save(path)
    return str(path)


def quantize(*arguments: str, model: str = WND) -> Result:
    return CliRunner().invoke(app, ["quantize", model, *arguments])


def test_a_proven_plan_leaves_all_that_serving_needs(data: str, tmp_path: Path) -> None:
    done = quantize("--data", data, "--objective", "memory", "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    assert "proven: ne" in done.output and "is within 0.0500%" in done.output
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {"precision.toml", "plan.toml", "model", "quantize.jsonl", "report.html",
                     "journal.jsonl"}  # fmt: skip
    deployment, model = read_deployment(tmp_path / "plan.toml")
    original, labelled = ratings("wnd")
    assert deployment.reference_digest == model_digest(original)
    assert read_reference(tmp_path / "plan.toml", deployment).name == original.name
    part = labelled.part(0, 500).batch
    scores = compile_deployment(deployment, model).run(part)
    off = np.abs(scores - rs.reference(original, part)).max()
    assert 1e-4 < off < 0.05
    size = (tmp_path / "model" / "weights.safetensors").stat().st_size
    whole = sum(a.nbytes for a in original.weights.values())
    assert size < 0.6 * whole  # tables alone: layers are packed when an engine is made


def test_what_the_page_says_is_printed_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample of docs/precision.md, by the commands above it."""
    page = (EXAMPLE.parents[1] / "docs" / "precision.md").read_text()
    commands, sample = page.split("in a clone, without torch:\n")[1].split("```")[:2]
    prepare, search = (line.split() for line in commands.splitlines() if line.startswith("    "))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLE.parent)
    assert prepare[0] == "python" and search[:2] == ["recstack", "quantize"]
    subprocess.run([sys.executable, *prepare[1:]], check=True)
    done = CliRunner().invoke(app, search[1:])
    assert done.exit_code == 0, done.output
    printed = " ".join(done.output.split())
    lines = [" ".join(line.removesuffix("...").split()) for line in sample.splitlines()]
    assert len(lines) > 12
    for line in lines:
        assert line in printed, printed


def test_an_edited_plan_is_proven_as_it_was_edited(data: str, tmp_path: Path) -> None:
    quantize("--data", data, "--objective", "memory", "-o", str(tmp_path / "a"))
    text = (tmp_path / "a" / "precision.toml").read_text()
    edited = tmp_path / "edited.toml"
    edited.write_text(
        text.replace('"movie.weight" = "int4"', '"movie.weight" = "int8"  # by hand')
        .replace('relu = "int8"', 'relu = "bf16"')
    )  # fmt: skip
    out = tmp_path / "b"
    done = quantize("--data", data, "--plan", str(edited), "-o", str(out), "--json")
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout)
    assert record["verdict"] == "proven" and record["tried"][0]["rows"] == "proof"
    _, model = read_deployment(out / "plan.toml")
    assert model.table_formats["movie.weight"] == "int8"
    assert read_plan(out / "precision.toml") == read_plan(edited)
    assert read_plan(edited).layer("relu").format == "bf16"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_full_disk_leaves_the_old_deployment_whole(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.toml").write_text('format = 1\n[layers]\ndefault = "bf16"\n')
    (tmp_path / "q.toml").write_text('format = 1\n[layers]\ndefault = "fp16"\n')
    out = tmp_path / "out"
    published = ("--data", data, "--publish", "-o", str(out), "--plan")
    assert quantize(*published, str(tmp_path / "p.toml")).exit_code == 0
    kept = ("precision.toml", "plan.toml", "model/model.json", "model/weights.safetensors")
    before = {name: contents(out)[name] for name in kept}

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage, "write_safetensors", full)
    with pytest.raises(ModelFileError, match="No space left"):
        raise quantize(*published, str(tmp_path / "q.toml")).exception
    assert {name: contents(out)[name] for name in kept} == before
    assert {p.name for p in out.iterdir()} == {"precision.toml", "plan.toml", "model",
                                               "quantize.jsonl", "report.html"}  # fmt: skip


def test_the_model_itself_is_not_replaced(data: str, tmp_path: Path) -> None:
    ratings("wnd")[0].save(tmp_path / "model")
    with pytest.raises(ConfigError, match="another folder than that of the model"):
        raise quantize("--data", data, "-o", str(tmp_path),
                       model=str(tmp_path / "model")).exception  # fmt: skip
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot make the folder"):
        raise quantize("--data", data, "-o", str(tmp_path / "file")).exception


def test_a_plan_past_the_budget_exits_1_and_writes_no_model(tmp_path: Path) -> None:
    model, labelled = planted()
    model.save(tmp_path / "m")
    labelled.save(tmp_path / "d")
    (tmp_path / "p.toml").write_text('format = 1\n[layers]\ndefault = "int8"\n')
    done = quantize("--data", str(tmp_path / "d"), "--plan", str(tmp_path / "p.toml"), "-o",
                    str(tmp_path / "out"), model=str(tmp_path / "m"))  # fmt: skip
    assert done.exit_code == 1
    assert not (tmp_path / "out" / "model").exists()
    assert (tmp_path / "out" / "report.html").exists()


def test_data_too_small_exit_1_and_say_how_many_rows_are_needed(tmp_path: Path) -> None:
    _, labelled = ratings("wnd")
    users = np.unique(labelled.groups)[:40]
    few = labelled.take(np.flatnonzero(np.isin(labelled.groups, users)))
    few.save(tmp_path / "few")
    done = quantize("--data", str(tmp_path / "few"), "--objective", "memory")
    assert done.exit_code == 1
    assert "too small to prove" in done.output and "rows would be needed" in done.output


@pytest.mark.parametrize("mode", ["search", "plan"])
@pytest.mark.parametrize(
    ("missing", "why"), [("class", "both classes"), ("group", "independent groups|two groups")]
)
def test_data_that_can_prove_nothing_exit_1(
    mode: str, missing: str, why: str, tmp_path: Path
) -> None:
    _, labelled = ratings("wnd")
    few = labelled.part(0, 400)
    if missing == "class":
        few = replace(few, labels=np.zeros_like(few.labels))
    else:
        few = replace(few, groups=np.zeros_like(few.groups))
    few.save(tmp_path / "few")
    (tmp_path / "p.toml").write_text('format = 1\n[layers]\ndefault = "bf16"\n')
    more = ("--plan", str(tmp_path / "p.toml")) if mode == "plan" else ("--objective", "memory")
    out = tmp_path / "out"
    done = quantize("--data", str(tmp_path / "few"), "-o", str(out), *more)
    assert done.exit_code == 1, done.exception
    assert re.search(why, done.output) and done.output.count("too_small:") == 1
    assert not (out / "plan.toml").exists() and (out / "report.html").exists()
    done = quantize("--data", str(tmp_path / "few"), "-o", str(out), "--publish",
                    "--plan", str(tmp_path / "p.toml"))  # fmt: skip
    assert done.exit_code == 0, done.exception
    assert "# given up: " in (out / "precision.toml").read_text()


def test_a_floor_within_the_interval_is_not_proven(data: str) -> None:
    arguments = ("--data", data, "--objective", "memory", "--floor")
    done = quantize(*arguments, "0.74")  # ne is 0.7266 on the proof rows
    assert done.exit_code == 1, done.output
    assert "past the floor 0.74" in done.output
    assert quantize(*arguments, "0.9").exit_code == 0


def test_a_plan_that_is_not_faster_is_not_deployed(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.toml").write_text('format = 1\n[layers]\ndefault = "bf16"\n')
    out, search = tmp_path / "out", ("--data", data, "-o", str(tmp_path / "out"))
    assert quantize(*search, "--plan", str(tmp_path / "p.toml")).exit_code == 0
    before = contents(out)
    monkeypatch.setattr(cli, "plan_ns", lambda *_: (10_000.0, 10_500.0))
    done = quantize(*search)
    assert done.exit_code == 1, done.output
    assert "not_faster: ne" in done.output
    assert "64 rows take 10.5 us in the whole plan and 10.0 us in fp32" in done.output
    assert "is still the deployment from before" in done.output
    kept = [name for name in before if "model" in name or name.endswith(".toml")]
    assert len(kept) == 4 and all(contents(out)[name] == before[name] for name in kept)
    page = (out / "report.html").read_text()
    assert "not faster than fp32" in page and "still the deployment from before" in page
    other = tmp_path / "other"
    done = quantize("--data", data, "-o", str(other), "--objective", "memory")
    assert done.exit_code == 0 and (other / "plan.toml").exists()


def test_new_weights_are_published_in_fp32_where_the_plan_is_not_faster(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "p.toml").write_text('format = 1\n[layers]\ndefault = "bf16"\n')
    published = ("--data", data, "--publish", "--plan", str(tmp_path / "p.toml"))
    monkeypatch.setattr(cli, "plan_ns", lambda *_: (10_000.0, 10_500.0))
    done = quantize(*published, "-o", str(tmp_path / "slow"))
    assert done.exit_code == 0, done.output
    assert "not_faster: ne" in done.output and "(100.0%)" in done.output
    assert "64 rows take 10.5 us in the whole plan and 10.0 us in fp32" in done.output
    text = (tmp_path / "slow" / "precision.toml").read_text()
    assert "# given up: the plan is not faster than fp32" in text
    deployment, _ = read_deployment(tmp_path / "slow" / "plan.toml")
    assert {p.format for p in deployment.engine.precision.layers.values()} == {"fp32"}
    assert "not faster than fp32" in (tmp_path / "slow" / "report.html").read_text()
    for name, more in (("small", ("--objective", "memory")), ("again", ())):
        if name == "again":  # fp32 already: a race against itself decides nothing
            published = (*published[:-1], str(tmp_path / "slow" / "precision.toml"))
        done = quantize(*published, *more, "-o", str(tmp_path / name))
        assert done.exit_code == 0 and "proven: ne" in done.output, done.output


def test_debug_looks_at_queries_from_all_over_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, labelled = ratings("wnd")
    labelled.save(tmp_path / "d")
    seen = []
    monkeypatch.setattr(debugged, "debug", lambda model, plan, data: seen.append(data) or [])
    for seed in ("0", "0", "1"):
        quantize("--data", str(tmp_path / "d"), "--debug", "--seed", seed)
    groups = [set(data.groups) for data in seen]
    assert len(groups[0]) > 100 > len(set(labelled.part(0, 2048).groups))
    assert all(data.rows == debugged.DEBUG_ROWS for data in seen)
    same, other = (not np.array_equal(seen[0].batch.values, s.batch.values) for s in seen[1:])
    assert (same, other) == (False, True)


def test_debug_ranks_the_planted_channel_first_and_draws_it(tmp_path: Path) -> None:
    model, labelled = planted()
    model.save(tmp_path / "m")
    labelled.part(0, 1000).save(tmp_path / "d")
    done = quantize("--data", str(tmp_path / "d"), "--debug", "-o", str(tmp_path), "--json",
                    model=str(tmp_path / "m"))  # fmt: skip
    assert done.exit_code == 0, done.output
    first = json.loads(done.stdout)[0]
    assert (first["unit"], first["columns"]) == (LAYER, [COLUMN])
    page = (tmp_path / "debug.html").read_text()
    assert "Numeric debugger" in page and f"Input columns that stand out: {COLUMN}." in page
    text = quantize("--data", str(tmp_path / "d"), "--debug", model=str(tmp_path / "m")).output
    assert next(row for row in text.splitlines() if " int8 " in row).startswith(LAYER)


def mean_square(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (labels - scores) ** 2


def test_a_metric_of_ones_own(data: str) -> None:
    metric = f"{__name__}:mean_square"
    done = quantize("--data", data, "--objective", "memory", "--metric", metric, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["metric"] == metric


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--metric", "AUC"), "expected a metric"),
        (("--metric", "nowhere:f"), "cannot import"),
        (("--budget", "much"), "expected a budget"),
        (("--tables", "int3"), "got 'int3'"),
        (("--layers", "int4"), "got 'int4'"),
        (("--plan", "none.toml"), "cannot read"),
    ],
)
def test_wrong_usage_is_said(arguments: tuple[str, ...], message: str, data: str) -> None:
    with pytest.raises(ConfigError, match=message):
        raise quantize("--data", data, *arguments).exception


def test_data_of_another_model_are_refused(data: str) -> None:
    done = quantize("--data", data, model=str(EXAMPLE / "models" / "din"))
    with pytest.raises(DataError, match="expected data of the model's input"):
        raise done.exception
