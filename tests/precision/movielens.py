"""The bundled MovieLens models and their held-out ratings as labelled data."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np

import recstack as rs
from recstack.data import LabelledData
from recstack.model.model import build

EXAMPLE = Path(__file__).parents[2] / "examples" / "movielens"
LAYER, COLUMN, FACTOR = "relu_1", 17, 1000.0


@cache
def ratings(name: str) -> tuple[rs.Model, LabelledData]:
    """A model, and 20,001 ratings that it was not trained on, by 147 users."""
    spec = importlib.util.spec_from_file_location("held_out", EXAMPLE / "held_out.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = rs.load(EXAMPLE / "models" / name)
    return model, module.held_out(model)


@cache
def planted() -> tuple[rs.Model, LabelledData]:
    """Wide & Deep computing the same, but for one input column of one layer a thousand times as
    large, and its weights as much smaller: in int8 all other columns lose their resolution.
    """
    model, data = ratings("wnd")
    weights = {name: np.array(array) for name, array in model.weights.items()}
    for name in ("deep.0.weight", "deep.0.bias"):
        weights[name][COLUMN] *= FACTOR
    weights["deep.3.weight"][:, COLUMN] /= FACTOR
    return build(model.description, weights), data
