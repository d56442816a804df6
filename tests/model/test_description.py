from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recstack.batch import DenseInput, SparseInput
from recstack.errors import ModelError
from recstack.model import Argument, ModelDescription, parse_description
from recstack.model.ops import (
    AttentionLayer,
    AttentionPooling,
    Binary,
    Clamp,
    EmbeddingBag,
    Gru,
    Linear,
    Opaque,
    Reduce,
    Transpose,
)


def minimal(**changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "format_version": 1,
        "name": "m",
        "inputs": [{"kind": "dense", "name": "x", "width": 3}],
        "ops": [{"kind": "unary", "output": "y", "inputs": ["x"], "fn": "relu"}],
        "outputs": ["y"],
    }
    return {**fields, **changes}


def op(**changes: Any) -> list[dict[str, Any]]:
    return [{**minimal()["ops"][0], **changes}]


BAD = [
    ([], "model.json: the top level"),
    (minimal(format_version=3), "expected format_version 1 or 2, got 3 - at `model.json: format_v"),
    (minimal(format_version=True), "expected format_version 1 or 2, got True"),
    (minimal(tables={"t": {}}), "expected format_version 2 beside `tables`, got 1"),
    (minimal(format_version=2, tables=3), "model.json: tables"),
    (minimal(format_version=2, tables={"t": {"format": "int8"}}), "tables.t.dim"),
    (minimal(format_version=2, tables={"t": {"format": "int3", "dim": 4}}), "tables.t.format"),
    (minimal(format_version=2, tables={"t": {"format": "fp32", "dim": 4}}), "other than fp32"),
    (minimal(format_version=2, tables={"t": {"format": "int8", "dim": -1}}), "tables.t.dim"),
    (minimal(format_version=2, tables={"": {"format": "int8", "dim": 1}}), "model.json: tables"),
    (minimal(format_version=None), "got None"),
    (minimal(colour="red"), "model.json: colour"),
    (minimal(outputs=[]), "model.json: outputs"),
    (minimal(ops=op(kind="explode")), "model.json: ops[0]`"),
    (minimal(ops=op(colour="red")), "got 'red' - at `model.json: ops[0].colour`"),
    (minimal(ops=op(fn="explode")), "model.json: ops[0].fn"),
    (minimal(ops=op(inputs=["x", 3])), "model.json: ops[0].inputs[1]"),
    (minimal(ops=op(output="")), "model.json: ops[0].output"),
    (minimal(ops=[*op(), {"kind": "linear", "output": "z"}]), "model.json: ops[1].weight"),
    (
        minimal(ops=[{"kind": "attention_pooling", "output": "z", "layers": [{"bias": "b"}]}]),
        "model.json: ops[0].layers[0].weight",
    ),
    (minimal(inputs=[{"kind": "dense", "name": "x", "width": 0}]), "inputs[0].width"),
    (minimal(inputs=[{"kind": "dense", "name": "x", "width": 1 << 30}]), "inputs[0].width"),
    (minimal(inputs=[{"kind": "image", "name": "x"}]), "model.json: inputs[0]`"),
    (minimal(inputs=[{"kind": "sparse", "name": "x", "scope": "page"}]), "inputs[0].scope"),
    (minimal(arguments=[{"name": "a", "kind": "image"}]), "arguments[0].kind"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BAD)
def test_malformed_descriptions_name_the_place(data: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_description(data)
    assert message in str(caught.value)


def test_the_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"deploy\.json: name"):
        parse_description(minimal(name=""), "deploy.json")


names = st.text(min_size=1, max_size=12)
optional = st.none() | names
integers = st.integers(0, 1000)
floats = st.floats(allow_nan=False, allow_infinity=False)
inputs = st.one_of(
    st.builds(DenseInput, name=names, width=st.integers(1, 99), scope=st.sampled_from(["user"])),
    st.builds(SparseInput, name=names, length=st.integers(1, 99), fixed=st.booleans()),
)
layers = st.builds(AttentionLayer, weight=names, bias=optional, eps=st.floats(0, 1))
ops = st.one_of(
    st.builds(EmbeddingBag, output=names, table=names, padding_index=st.none() | integers),
    st.builds(Linear, output=names, inputs=st.tuples(names), weight=names, bias=optional),
    st.builds(Binary, output=names, fn=st.just("pow"), scalar=st.none() | floats),
    st.builds(Clamp, output=names, low=st.none() | floats, high=st.none() | floats),
    st.builds(Reduce, output=names, fn=st.just("max"), axes=st.tuples(integers, integers)),
    st.builds(Transpose, output=names, axes=st.lists(integers).map(tuple)),
    st.builds(AttentionPooling, output=names, layers=st.tuples(layers, layers)),
    st.builds(Gru, output=names, weight_ih=names, weight_hh=names),
    st.builds(
        Opaque,
        output=names,
        target=names,
        arguments=st.lists(
            st.recursive(integers | floats | names | st.none(), st.lists, max_leaves=5)
        ).map(tuple),
        entry_shape=st.lists(integers).map(tuple),
    ),
)
descriptions = st.builds(
    ModelDescription,
    name=names,
    inputs=st.lists(inputs, max_size=4).map(tuple),
    ops=st.lists(ops, max_size=6).map(tuple),
    outputs=st.lists(names, min_size=1, max_size=3).map(tuple),
    arguments=st.lists(
        st.builds(Argument, name=names, kind=st.just("dense"), inputs=st.tuples(names)), max_size=2
    ).map(tuple),
)


@given(descriptions)
def test_json_round_trip(description: ModelDescription) -> None:
    text = json.dumps(json.loads(description.model_dump_json()))
    assert parse_description(json.loads(text)) == description
