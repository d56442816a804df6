"""A small model that uses most kinds of inputs and weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recstack.batch import DenseInput, SparseInput
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import Binary, Concat, EmbeddingBag, Linear


def description(**changes: Any) -> ModelDescription:
    fields: dict[str, Any] = {
        "name": "tiny",
        "inputs": (
            DenseInput(name="x", width=3),
            SparseInput(name="user", length=4, scope="user"),
            SparseInput(name="item", length=2, fixed=True, weighted=True),
        ),
        "ops": (
            EmbeddingBag(output="u", inputs=("user",), table="table", pooling="mean"),
            EmbeddingBag(output="i", inputs=("item",), table="table", pooling="weighted"),
            Concat(output="both", inputs=("x", "u", "i")),
            Binary(output="scaled", inputs=("both",), fn="mul", scalar=0.5),
            Linear(output="score", inputs=("scaled",), weight="w", bias="b", activation="sigmoid"),
        ),
        "outputs": ("score",),
    }
    return ModelDescription(**{**fields, **changes})


def weights(**changes: Any) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    made = {
        "table": rng.standard_normal((10, 4), dtype=np.float32),
        "w": rng.standard_normal((1, 11), dtype=np.float32),
        "b": np.zeros(1, np.float32),
    }
    return {**made, **changes}


@pytest.fixture
def tiny() -> Model:
    return build(description(), weights())


@pytest.fixture
def folder(tiny: Model, tmp_path: Path) -> Path:
    """The tiny model on disk."""
    tiny.save(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def edit(folder: Path) -> Any:
    """A function that changes parts of the saved model.json: edit(lambda fields: ...)."""

    def change(how: Any) -> Path:
        path = folder / "model.json"
        fields = json.loads(path.read_text())
        how(fields)
        path.write_text(json.dumps(fields))
        return folder

    return change
