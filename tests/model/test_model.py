from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recstack.batch import DenseInput, SparseInput
from recstack.errors import ModelError
from recstack.model import Model, ModelDescription, Value, build, feature_tables
from recstack.model.ops import (
    Binary,
    Constant,
    EmbeddingBag,
    Expand,
    Linear,
    Opaque,
    SequenceMask,
    Unary,
)


def small(*ops: Any, outputs: tuple[str, ...] = ("y",), **weights: np.ndarray) -> Model:
    """A model of an item and a user dense input (3 wide) and a sparse one, with these ops."""
    inputs = (
        DenseInput(name="x", width=3),
        DenseInput(name="who", width=3, scope="user"),
        SparseInput(name="ids", length=2),
    )
    return build(ModelDescription(name="m", inputs=inputs, ops=ops, outputs=outputs), weights)


def relu(output: str, *inputs: str) -> Unary:
    return Unary(output=output, inputs=inputs, fn="relu")


def zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


def test_properties(tiny: Model) -> None:
    assert tiny.name == "tiny"
    assert tuple(i.name for i in tiny.inputs) == ("x", "user", "item")
    assert [op.kind for op in tiny.ops][-1] == "linear"
    assert [item.name for item in tiny.dense] == ["x"]
    assert [item.name for item in tiny.sparse] == ["user", "item"]
    assert tiny.outputs == ("score",) and tiny.output_width == 1 and tiny.arguments == ()
    assert tiny.values["both"] == Value((11,), "item")
    assert tiny.values["u"].scope == "user" and tiny.values["u"].elements == 4


def test_scopes() -> None:
    model = small(
        Constant(output="c", weight="w"),
        relu("cc", "c"),
        relu("uu", "who"),
        Binary(output="uc", inputs=("uu", "cc"), fn="add"),
        Binary(output="y", inputs=("x", "uc"), fn="add"),
        Opaque(output="o", inputs=("c",), target="aten.relu.default", entry_shape=(3,)),
        w=zeros(3),
    )
    found = {name: value.scope for name, value in model.values.items()}
    assert found == {
        "x": "item", "who": "user", "c": "const", "cc": "const", "uu": "user", "uc": "user",
        "y": "item", "o": "item",
    }  # fmt: skip


BAD = [
    (lambda: small(relu("y", "z")), r"value, got 'z' - at `ops\[0\] \(unary 'y'\)`"),
    (lambda: small(relu("y", "ids")), "name of a value, got 'ids'"),
    (lambda: small(SequenceMask(output="y", inputs=("x",))), "name of a sparse input, got 'x'"),
    (lambda: small(relu("a", "y"), relu("y", "a")), r"got 'y' \(a cycle\?\) - at `ops\[0\]"),
    (lambda: small(relu("y", "y")), r"a cycle\?"),
    (lambda: small(relu("y", "x"), relu("y", "x")), r"got 'y' again - at `ops\[1\]"),
    (lambda: small(relu("ids", "x")), "got 'ids' again"),
    (lambda: small(relu("y", "x", "x")), "expected 1 to 1 inputs, got 2"),
    (lambda: small(relu("y")), "expected 1 to 1 inputs, got 0"),
    (lambda: small(relu("y", "x"), outputs=("y", "q")), r"got 'q' - at `outputs\[1\]`"),
    (lambda: small(relu("y", "x"), outputs=("ids",)), r"got 'ids' - at `outputs\[0\]`"),
    (
        lambda: small(Linear(output="y", inputs=("x",), weight="w")),
        r"name of a weight, got 'w' - at `ops\[0\] \(linear 'y'\)`",
    ),
    (
        lambda: small(Linear(output="y", inputs=("x",), weight="w"), w=zeros(2, 4)),
        r"input of width 4, got \(3,\) - at `ops\[0\]",
    ),
    (lambda: small(relu("y", "x"), w=np.zeros(3)), r"float32, got float64 - at `weights\['w'\]`"),
    (
        lambda: small(Expand(output="y", inputs=("x",), shape_to=(1 << 30, 3))),
        "at most 67108864",
    ),
    (
        lambda: small(
            Opaque(output="y", inputs=("x",), target="aten.relu.default", entry_shape=(-3,))
        ),
        r"sizes >= 0, got \(-3,\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "message"), BAD)
def test_malformed_models_name_the_place(make: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        make()


def test_an_input_given_twice() -> None:
    inputs = (DenseInput(name="x", width=3), SparseInput(name="x"))
    data = ModelDescription(name="m", inputs=inputs, ops=(), outputs=("x",))
    with pytest.raises(ModelError, match=r"new name, got 'x' again - at `inputs\[1\]`"):
        build(data, {})


def test_a_sequence_may_not_be_huge() -> None:
    inputs = (SparseInput(name="ids", length=1 << 24),)
    ops = (EmbeddingBag(output="y", inputs=("ids",), table="t", pooling="none"),)
    data = ModelDescription(name="m", inputs=inputs, ops=ops, outputs=("y",))
    with pytest.raises(ModelError, match="at most 67108864"):
        build(data, {"t": zeros(1, 512)})


def test_feature_tables_take_the_smallest_table() -> None:
    model = small(
        EmbeddingBag(output="y", inputs=("ids",), table="big"),
        EmbeddingBag(output="z", inputs=("ids",), table="big", row_offset=6),
        big=zeros(10, 2),
    )
    assert [(item.name, limit) for item, limit in feature_tables(model)] == [("ids", 4)]
    unread = small(relu("y", "x"))
    assert [limit for _, limit in feature_tables(unread)] == [2**31 - 1]


def test_what_batches_depend_on() -> None:
    model = small(
        EmbeddingBag(output="y", inputs=("ids",), table="t"),
        SequenceMask(output="z", inputs=("ids",)),
        t=zeros(7, 2),
    )
    assert model.index_limits == {"ids": 7} and model.sequences == {"ids"}
    assert small(relu("y", "x")).sequences == frozenset()
