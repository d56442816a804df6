from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recstack.batch import Batch, DenseInput, SparseInput, check
from recstack.engine.reference import reference
from recstack.errors import BatchError
from recstack.model import Model
from recstack.model.description import ModelDescription
from recstack.model.model import build
from recstack.model.ops.dense import Linear
from recstack.serve.protocol import Codec, Limits


def same(a: Batch, b: Batch) -> None:
    for name in ("dense", "user_dense", "values", "lengths", "query_offsets", "weights"):
        x, y = getattr(a, name), getattr(b, name)
        assert (x is None) == (y is None), name
        if x is not None:
            np.testing.assert_array_equal(x, y, err_msg=name)


def tiny(*inputs: Any) -> Model:
    """A model of these inputs that sums its first dense one."""
    first = next(i for i in inputs if isinstance(i, DenseInput))
    op = Linear(inputs=(first.name,), output="out", weight="w")
    description = ModelDescription(name="tiny", inputs=inputs, ops=(op,), outputs=("out",))
    return build(description, {"w": np.ones((1, first.width), np.float32)})


@pytest.mark.parametrize("form", ["packed", "named"])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("rows", "queries"), [(1, 1), (4, 1), (7, 3), (64, 5), (0, 1), (0, 2)])
def test_both_forms_give_the_batch(
    tools: Any, form: str, binary: bool, rows: int, queries: int
) -> None:
    model, batch = tools.model(), tools.batch(rows, queries)
    arrays = tools.packed(batch) if form == "packed" else tools.named(batch)
    body, json_bytes = tools.encode(arrays, binary, id="7")
    request = Codec(model).decode(body, json_bytes)
    expected = batch
    if form == "named":  # weights of features that have none are 1
        weights = batch.weights.copy()
        weights[: int(batch.lengths[: 2 * rows].sum())] = 1
        expected = batch.replace(weights=weights)
    same(request.batch, expected)
    assert (request.id, request.binary, request.timeout_us) == ("7", False, None)
    check(model.inputs, request.batch)
    np.testing.assert_array_equal(reference(model, request.batch), reference(model, batch))


def test_aligned_bytes_are_viewed_and_others_copied(tools: Any) -> None:
    body, json_bytes = tools.encode(tools.packed(tools.batch(5)))
    viewed = Codec(tools.model()).decode(body, json_bytes).batch
    for array in (viewed.dense, viewed.lengths, viewed.weights):
        assert np.shares_memory(array, np.frombuffer(body, np.uint8))
    odd = body[:json_bytes] + b" " + body[json_bytes:]
    copied = Codec(tools.model()).decode(odd, json_bytes + 1).batch
    same(copied, viewed)
    assert all(a.flags.aligned for a in (copied.dense, copied.values, copied.weights))


def test_one_query_needs_no_offsets(tools: Any) -> None:
    batch = tools.batch(6)
    arrays = tools.packed(batch)
    del arrays["query_offsets"]
    same(Codec(tools.model()).decode(*tools.encode(arrays)).batch, batch)


def test_packed_rows_come_from_lengths_where_nothing_is_dense(tools: Any) -> None:
    inputs = (
        DenseInput(name="u", width=1, scope="user"),
        SparseInput(name="a"),
        SparseInput(name="b"),
    )
    arrays = {
        "user_dense": np.ones((1, 1), np.float32),
        "values": np.arange(5),
        "lengths": np.array([[1, 0, 2], [1, 1, 0]], np.int32),
    }
    got = Codec(tiny(*inputs)).decode(*tools.encode(arrays)).batch
    assert (got.rows, got.queries, got.lengths.shape) == (3, 1, (2, 3))
    arrays["lengths"] = arrays["lengths"].reshape(-1)
    assert Codec(tiny(*inputs)).decode(*tools.encode(arrays)).batch.lengths.shape == (2, 3)


def test_named_shapes_that_are_the_same_thing(tools: Any) -> None:
    codec, batch = Codec(tools.model()), tools.batch(3)
    arrays = tools.named(batch)
    expected = codec.decode(*tools.encode(arrays)).batch
    arrays["item"], arrays["age"] = arrays["item"].reshape(3), arrays["age"].reshape(2)
    same(codec.decode(*tools.encode(arrays)).batch, expected)
    del arrays["tags.lengths"]
    arrays["tags"] = np.arange(6).reshape(3, 2)
    even = codec.decode(*tools.encode(arrays)).batch
    assert even.lengths[3:6].tolist() == [2, 2, 2]
    arrays["item"] = arrays["item"].astype(np.int32)
    assert codec.decode(*tools.encode(arrays)).batch.values.dtype == np.int64


def test_inputs_called_like_packed_tensors(tools: Any) -> None:
    model = tiny(DenseInput(name="dense", width=2), SparseInput(name="values", fixed=True))
    dense = np.ones((3, 2), np.float32)
    named = {"dense": dense, "values": np.array([[4], [5], [6]])}
    packed = {"dense": dense, "values": np.array([4, 5, 6]), "lengths": np.ones(3, np.int32)}
    codec = Codec(model)
    a, b = (codec.decode(*tools.encode(arrays)).batch for arrays in (named, packed))
    same(a, b)
    with pytest.raises(BatchError, match=r"expected shape \(n,\)"):
        codec.decode(*tools.encode(named, parameters={"form": "packed"}))
    with pytest.raises(BatchError, match="expected the name of an input"):
        codec.decode(*tools.encode(packed, parameters={"form": "named"}))


def test_inputs_whose_tensors_clash_are_served_packed_only(tools: Any) -> None:
    codec = Codec(tiny(DenseInput(name="x.lengths", width=1), SparseInput(name="x")))
    packed = {
        "dense": np.ones((2, 1), np.float32),
        "values": np.arange(2),
        "lengths": np.ones(2, np.int32),
    }
    assert codec.decode(*tools.encode(packed)).batch.rows == 2
    with pytest.raises(BatchError, match="packed form"):
        codec.decode(*tools.encode({"x.lengths": np.ones((2, 1), np.float32)}))


def change(name: str, array: np.ndarray) -> Any:
    return lambda arrays: {**arrays, name: array}


def drop(name: str) -> Any:
    return lambda arrays: {k: v for k, v in arrays.items() if k != name}


I4, I8, F4 = np.int32, np.int64, np.float32


@pytest.mark.parametrize(
    ("form", "edit", "message"),
    [
        ("named", change("item", np.ones((4, 1), F4)), "expected INT64 or INT32, got FP32"),
        ("named", change("item", np.ones((3, 1), I8)), r"expected shape \(4, 1\) or \(4,\)"),
        ("named", change("price", np.ones((4, 2), F4)), r"\(4, 3\), got \(4, 2\) - at `inputs"),
        ("named", change("price", np.ones((4, 3), I4)), "inputs.0. 'price'"),
        ("named", change("age", np.ones((2, 2), F4)), r"\(1, 2\) or \(2,\), got \(2, 2\)"),
        ("named", change("tags.lengths", np.full(4, -1, I4)), "length >= 0 for entry 0, got -1"),
        ("named", change("tags.lengths", np.full(4, 99, I4)), "lengths to sum to"),
        ("named", change("tags.lengths", np.ones(4, I8)), "expected INT32, got INT64"),
        ("named", change("history.weights", np.ones(99, F4)), "'history.weights'"),
        ("named", change("stranger", np.ones(9, F4)), "'stranger'"),
        ("named", drop("price"), "expected an input named 'price', got none - at `inputs`"),
        ("named", drop("tags.lengths"), "'tags.lengths' beside the flat 'tags'"),
        ("named", drop("history.weights"), "'history.weights', got none"),
        ("packed", change("dense", np.ones((4, 9), F4)), r"\(4, 3\), got \(4, 9\)"),
        ("packed", change("user_dense", np.ones((4, 2), F4)), r"\(1, 2\), got \(4, 2\)"),
        ("packed", change("lengths", np.ones(3, I4)), "expected 9 lengths"),
        ("packed", change("lengths", np.full(9, 2, I4)), "expected the lengths to sum to"),
        ("packed", change("lengths", np.ones((9, 1), I4)), r"expected shape \(n,\)"),
        ("packed", change("query_offsets", np.array([1, 4], I4)), "expected 0 as first offset"),
        ("packed", change("query_offsets", np.array([0, 4, 2], I4)), "at least 4, got 2"),
        ("packed", change("query_offsets", np.array([0], I4)), "expected 2 to 1025 offsets"),
        ("packed", change("query_offsets", np.array([0, 2**31 - 1], I4)), "at most 1048576 rows"),
        ("packed", change("weights", np.ones(2, F4)), "weights"),
        ("packed", drop("dense"), r"expected FP32 \(4, 3\), got none - at `dense`"),
        ("packed", drop("values"), "values"),
        ("packed", drop("weights"), "weights"),
    ],
)
def test_faults_say_expected_got_and_where(tools: Any, form: str, edit: Any, message: str) -> None:
    batch = tools.batch(4)
    arrays = edit(tools.packed(batch) if form == "packed" else tools.named(batch))
    with pytest.raises(BatchError, match=message):
        Codec(tools.model()).decode(*tools.encode(arrays))


def test_a_fixed_feature_of_another_length(tools: Any) -> None:
    arrays = tools.packed(tools.batch(4))
    arrays["lengths"] = np.array([2, 0, *arrays["lengths"][2:]], np.int32)
    with pytest.raises(BatchError, match="expected length 1, got 2 - at `feature 'item', row 0`"):
        Codec(tools.model()).decode(*tools.encode(arrays))


def test_limits(tools: Any) -> None:
    body, json_bytes = tools.encode(tools.packed(tools.batch(9, 3)))
    for limits in (Limits(max_rows=8), Limits(max_queries=2), Limits(max_json_bytes=10)):
        with pytest.raises(BatchError):
            Codec(tools.model(), limits).decode(body, json_bytes)


@pytest.mark.parametrize(
    ("limits", "binary", "message"),
    [
        (Limits(max_json_bytes=1 << 19), False, None),
        (Limits(max_json_bytes=1800), False, "expected at most 450 scores in JSON, got 600"),
        (Limits(max_json_bytes=1800), True, None),
        (Limits(max_reply_bytes=2399), True, "expected at most 599 scores, got 600"),
    ],
)
def test_what_a_reply_may_hold(
    tools: Any, limits: Limits, binary: bool, message: str | None
) -> None:
    request = tools.encode(
        tools.packed(tools.batch(300)), parameters={"binary_data_output": binary}
    )
    codec = Codec(tools.model(), limits)
    if message is None:
        assert codec.decode(*request).batch.rows == 300
        return
    with pytest.raises(BatchError, match=message):
        codec.decode(*request)


def test_replies(tools: Any) -> None:
    codec = Codec(tools.model(), name='a"b')
    arrays = tools.packed(tools.batch(2))
    scores = np.array([[1, 2.5], [3, 0.1]], np.float32)
    plain = codec.decode(*tools.encode(arrays, id="ü"))
    body, tail = codec.encode(plain, scores, {"queue": 5})
    answer = json.loads(body)
    assert tail is None
    assert answer["model_name"] == 'a"b' and answer["model_version"] == "1"
    assert answer["id"] == "ü" and answer["parameters"] == {"queue_ns": 5}
    (output,) = answer["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("scores", "FP32", [2, 2])
    assert np.array(output["data"], np.float32).reshape(2, 2).tolist() == scores.tolist()
    wanted = codec.decode(*tools.encode(arrays, parameters={"binary_data_output": True}))
    body, tail = codec.encode(wanted, scores)
    assert "id" not in json.loads(body)
    assert json.loads(body)["outputs"][0]["parameters"] == {"binary_data_size": 16}
    assert tail == scores.tobytes()
    with pytest.raises(ValueError, match="JSON"):
        codec.encode(plain, np.full((1, 2), np.nan, np.float32))


@pytest.mark.parametrize(
    ("outputs", "whole", "binary"),
    [
        (None, None, False),
        (None, True, True),
        ([{"name": "scores"}], True, True),
        ([{"name": "scores", "parameters": {"binary_data": False}}], True, False),
        ([{"name": "scores", "parameters": {"binary_data": True}}], None, True),
        ([{"name": "scores", "parameters": {"binary_data": True}}], False, True),
        ([], None, False),
    ],
)
def test_the_output_decides_before_the_request(
    tools: Any, outputs: Any, whole: Any, binary: bool
) -> None:
    more: dict[str, Any] = {} if outputs is None else {"outputs": outputs}
    if whole is not None:
        more["parameters"] = {"binary_data_output": whole}
    body, json_bytes = tools.encode(tools.packed(tools.batch(2)), **more)
    assert Codec(tools.model()).decode(body, json_bytes).binary is binary
