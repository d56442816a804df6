from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.errors import ModelFileError
from recstack.model import build, storage
from recstack.model.digest import model_digest

MODEL = rs.zoo.build("ncf", rows_scale=1e-3)


def test_it_is_that_of_the_model_however_they_are_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    MODEL.save(tmp_path / "one")
    monkeypatch.setattr(storage, "SHARD_BYTES", 10_000)
    MODEL.save(tmp_path / "many")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    stored = {model_digest(rs.load(tmp_path / name)) for name in ("one", "many")}
    assert stored == {model_digest(MODEL)} and len(stored.pop()) == 32


@pytest.mark.parametrize("at", [0, -1])
def test_one_bit_of_one_weight_changes_it(at: int) -> None:
    name = list(MODEL.weights)[at]
    changed = np.array(MODEL.weights[name])
    changed.reshape(-1).view(np.uint8)[at] ^= 1
    other = build(MODEL.description, {**MODEL.weights, name: changed})
    assert model_digest(other) != model_digest(MODEL)


def test_another_description_of_the_same_weights_changes_it() -> None:
    ops = list(MODEL.ops)
    at, last = next((i, op) for i, op in enumerate(ops) if op.kind == "linear")
    ops[at] = last.model_copy(update={"activation": "tanh"})
    other = build(MODEL.description.model_copy(update={"ops": tuple(ops)}), MODEL.weights)
    assert model_digest(other) != model_digest(MODEL)


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    MODEL.save(tmp_path / "m")
    model = rs.load(tmp_path / "m")
    with (tmp_path / "m" / "weights.safetensors").open("r+b") as file:
        file.truncate(100)
    with pytest.raises(ModelFileError, match="cut short"):
        model_digest(model)
