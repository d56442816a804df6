"""What a journal of a search is checked against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack import results
from recstack.data import random_batch
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import metric_of, parse_metric
from recstack.engine import EngineConfig
from recstack.model import Model, load, zoo
from recstack.model.model import build
from recstack.precision.budget import parse_budget
from recstack.tune.quantise import QuantiseConfig
from recstack.tune.quantise import about as about_module
from recstack.tune.quantise.about import about

MODEL = zoo.build("rm1", rows_scale=1e-3, tables=(20_000, 100))
BATCH = random_batch(MODEL, rows=8, queries=2, seed=0)
DATA = LabelledData(MODEL.inputs, BATCH, np.zeros((8, 1), np.float32))


def asked(model: Model = MODEL, metric: Any = None, isa: str = "auto") -> dict[str, Any]:
    return about(
        model, DATA, metric or parse_metric("ne"), parse_budget("1%"), QuantiseConfig(),
        EngineConfig(isa=isa),
    )  # fmt: skip


def differ(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    return {key for key in one if one[key] != other[key]}


def test_any_element_of_any_weight_counts() -> None:
    rng, before = np.random.default_rng(0), asked()
    assert asked() == before
    for name in MODEL.weights:
        changed = np.array(MODEL.weights[name])
        changed.reshape(-1)[rng.integers(changed.size)] += 1
        found = asked(build(MODEL.description, {**MODEL.weights, name: changed}))
        assert differ(before, found) == {"model"}, name


def test_a_model_from_a_file_is_the_one_in_memory(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "m")
    assert asked(load(tmp_path / "m")) == asked()


def test_the_text_of_a_metric_of_ones_own_counts(tmp_path: Path) -> None:
    found = []
    for power in (2, 3):
        path = tmp_path / f"mine{power}.py"
        path.write_text(f"def loss(y, s):\n    return abs(y - s) ** {power}\n")
        monkey = pytest.MonkeyPatch()
        monkey.syspath_prepend(tmp_path)
        module = __import__(f"mine{power}")
        found.append(asked(metric=metric_of(module.loss, "mine:loss")))
        monkey.undo()
    assert differ(*found) == {"metric_source"}
    assert metric_of(max, "builtins:max").source == ""


def test_the_code_and_the_instruction_set_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = asked(isa="scalar")
    monkeypatch.setenv("RECSTACK_ISA", "scalar")
    assert differ(before, asked()) == {"engine"}
    monkeypatch.delenv("RECSTACK_ISA")
    if asked()["isa"] != "scalar":
        assert differ(before, asked()) == {"engine", "isa"}
    machine = replace_version(results.fingerprint())
    monkeypatch.setattr(results, "fingerprint", lambda: machine)
    assert differ(before, asked(isa="scalar")) == {"recstack"}
    monkeypatch.setattr(about_module, "native_build", lambda: "another build")
    assert differ(before, asked(isa="scalar")) == {"recstack", "native"}


def replace_version(machine: results.Machine) -> results.Machine:
    return machine.model_copy(update={"recstack": "0.0.0"})
