"""Every contender gives the reference's scores on the zoo's released shapes."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from recstack import reference
from recstack.bench.contender import Absent, Setting, Unsupported
from recstack.bench.contenders import LOW_OWN, LOW_PEERS, PEERS, chosen, prepare
from recstack.bench.form import form_of
from recstack.data import random_batch
from recstack.model import Model, zoo

QUICK = ("recstack", "torch", "onnxruntime", "openvino")
MODELS = ("ncf", "rm1", "mt-wnd", "din", "dien")


@functools.cache
def model_of(name: str) -> Model:
    return zoo.build(name, variant="deeprecsys", rows_scale=1e-4)


def check(name: str, model: Model, rows: int, cache: Path, atol: float = 1e-4) -> None:
    setting = Setting(rows, threads=1, isa="auto", cache=cache)
    try:
        contender = prepare(name, model, setting)
    except Absent as error:
        pytest.skip(str(error))
    batches = [random_batch(model, rows, seed) for seed in (1, 2)]
    staged = [contender.stage(batch) for batch in batches]
    for batch, given in [*zip(batches, staged, strict=True), (batches[0], staged[0])]:
        with contender.turn():
            scores = np.array(contender.scores(contender.run(given)))
        np.testing.assert_allclose(scores, reference(model, batch), atol=atol, rtol=0)
    assert contender.version()


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", QUICK)
def test_scores_are_the_references(name: str, model: str, rows: int, tmp_path: Path) -> None:
    check(name, model_of(model), rows, tmp_path)


@pytest.mark.parametrize("model", ["ncf", "rm1", "dien"])
@pytest.mark.parametrize("name", [*LOW_OWN, *LOW_PEERS])
def test_low_precision_comes_near(name: str, model: str, tmp_path: Path) -> None:
    check(name, model_of(model), 5, tmp_path, atol=0.05)


def test_low_peers_are_chosen_as_one() -> None:
    assert chosen("torch,low")[:2] == ("torch", LOW_PEERS[0])
    assert set(chosen("all")).isdisjoint(LOW_PEERS)


@pytest.mark.parametrize("name", ["aoti", "compile", "fbgemm"])
def test_compiled_peers_agree(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from recstack.bench.contenders.compiled import OPTIONS

    monkeypatch.setitem(OPTIONS, "max_autotune", False)  # it takes most of a minute
    small = zoo.build(
        "rm1", variant="deeprecsys", rows_scale=1e-4, tables=(1000, 500), lookups=3, dense=8,
        bottom=(4, 32), top=(8, 1),
    )  # fmt: skip
    check(name, small, 2, tmp_path)


def test_one_package_serves_tables_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    from recstack.bench.contenders.compiled import OPTIONS

    monkeypatch.setitem(OPTIONS, "max_autotune", False)
    for scale, may_compile in ((1e-4, True), (1e-3, False)):
        model = zoo.build("ncf", variant="deeprecsys", rows_scale=scale, mlp=(8, 4), outputs=2)
        batch = random_batch(model, 3, seed=1)
        contender = prepare("aoti", model, Setting(3, 1, "auto", tmp_path, may_compile))
        staged = contender.stage(batch)
        with contender.turn():
            scores = np.array(contender.scores(contender.run(staged)))
        np.testing.assert_allclose(scores, reference(model, batch), atol=1e-5)


def test_a_large_gather_is_split_by_feature(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("recstack.bench.lowering.GATHERED_BYTES", 0)
    for name in ("onnxruntime", "openvino"):
        check(name, model_of("rm1"), 3, tmp_path)


@pytest.mark.parametrize("rows", [1, 6])
@pytest.mark.parametrize("model", ["ncf", "din", "dien"])
def test_torch_takes_models_without_a_form(model: str, rows: int, tmp_path: Path) -> None:
    proper = zoo.build(model, rows_scale=1e-4)
    with pytest.raises(Unsupported):
        form_of(proper)
    check("torch", proper, rows, tmp_path)


@pytest.mark.parametrize("name", [name for name in PEERS if name != "torch"])
def test_a_model_without_a_form_is_refused(name: str, tmp_path: Path) -> None:
    proper = zoo.build("din", rows_scale=1e-6)
    setting = Setting(2, threads=1, isa="auto", cache=tmp_path)
    try:
        with pytest.raises(Unsupported, match=r"sequence|ragged"):
            prepare(name, proper, setting)
    except Absent as error:
        pytest.skip(str(error))
