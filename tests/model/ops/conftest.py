"""A function that infers the shape of one op from those of its inputs and weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recstack.batch import DenseInput, Input, SparseInput
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import Op, Opaque

Shape = tuple[int, ...]


def model_of(op: Op, shapes: list[Shape], weights: dict[str, Shape]) -> Model:
    """A model whose last op is `op` on values of these shapes, called a, b, c."""
    inputs: list[Input] = [DenseInput(name="x", width=1)]
    ops: list[Op] = [
        Opaque(output=name, inputs=("x",), target="aten.any.default", entry_shape=shape)
        for name, shape in zip("abc", shapes, strict=False)
    ]
    inputs.append(SparseInput(name="ids", length=5))
    inputs.append(SparseInput(name="weighted", length=5, weighted=True))
    data = ModelDescription(name="m", inputs=tuple(inputs), ops=(*ops, op), outputs=("y",))
    zero = np.zeros((), np.float32)
    return build(data, {name: np.broadcast_to(zero, shape) for name, shape in weights.items()})


@pytest.fixture
def infer() -> Callable[..., Shape]:
    def shape_of(op: Op, *shapes: Shape, **weights: Shape) -> Shape:
        return model_of(op, list(shapes), weights).values["y"].shape

    return shape_of


@pytest.fixture
def cost() -> Callable[..., Any]:
    from recstack.model.cost import describe

    def cost_of(op: Op, *shapes: Shape, **weights: Shape) -> Any:
        return describe(model_of(op, list(shapes), weights)).ops[-1]

    return cost_of
