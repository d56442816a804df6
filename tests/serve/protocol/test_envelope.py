from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from recstack.errors import BatchError
from recstack.serve.protocol.envelope import parse, timeout_us
from recstack.serve.protocol.tensor import FP32, INDEX

LIMIT = 1 << 20


def one(**changes: Any) -> bytes:
    """A request of one tensor; a change of None takes the key away."""
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": [1, 2, 3, 4], **changes}
    return json.dumps({"inputs": [{k: v for k, v in tensor.items() if v is not None}]}).encode()


def read(body: bytes, datatypes: tuple[str, ...] = FP32) -> list[float]:
    return parse(body, None, LIMIT).tensors["x"].array(datatypes).tolist()


def test_json_data_flat_or_nested() -> None:
    assert read(one()) == [1, 2, 3, 4]
    assert read(one(data=[[1, 2.5], [3, 4]])) == [1, 2.5, 3, 4]
    assert read(one(datatype="INT32"), INDEX) == [1, 2, 3, 4]
    assert read(one(shape=[0, 2], data=[])) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "expected JSON"),
        (b"[]", "expected a JSON object, got an empty list"),
        (b"{}", "expected a list of tensors, got none - at `inputs`"),
        (b'{"inputs": []}', "got an empty list"),
        (b'{"inputs": [1]}', "inputs.0."),
        (b'{"inputs"', "expected JSON, got a fault at byte"),
        (b"\xff\xfe", "expected UTF-8"),
        (b"[" * 100_000, "nested"),
        (b"1" * 5000, "digits"),
        (b'{"inputs": [NaN]}', "got NaN"),
        (one(data=[1, 2, 3]), "expected 4 numbers, got 3"),
        (one(data=[[1, 2, 3, 4]]), "another nesting on axis 0"),
        (one(data=[[1, 2], 3, 4]), "another nesting"),
        (one(data=[[[1], [2]], [[3], [4]]]), "got a list"),
        (one(data=[1, 2, 3, "4"]), "expected numbers as FP32, got a string"),
        (one(data=[1, 2, 3, True]), "expected numbers as FP32, got a boolean"),
        (one(data=[1, 2, 3, {}]), "expected numbers as FP32, got an object"),
        (one(data=[1, 2, 3, 1e39]), "within FP32"),
        (one(data=[1, 2, 3, 10**400]), "within FP32"),
        (one(data=None), "expected data as a list, got none"),
        (one(data=7), "expected data as a list, got 7"),
        (one(name=None), r"inputs.0..name"),
        (one(name=7), "expected a string, got 7"),
        (one(datatype="FP23"), "got 'FP23'"),
        (one(datatype="BYTES"), "expected FP32, got BYTES"),
        (one(shape=None), "as shape, got none"),
        (one(shape=[4, -1]), "expected sizes of 0 .* got -1 on axis 1"),
        (one(shape=[2.0, 2]), "got a float on axis 0"),
        (one(shape=[True, 4]), "got a boolean on axis 0"),
        (one(shape=[1 << 40]), "got 1099511627776 on axis 0"),
        (one(shape=[1 << 80]), "got an integer past 64 bits on axis 0"),
        (one(parameters=[]), "expected parameters as an object"),
        (one(parameters={"shared_memory_region": "r"}), "shared memory"),
        (one(parameters={"binary_data_size": 16}), "got both"),
        (one(data=None, parameters={"binary_data_size": 16}), "0 to 0, the bytes left, got 16"),
        (one(data=None, parameters={"binary_data_size": "9"}), "the bytes left, got a string"),
        (one() + b"more", "expected JSON"),
    ],
)
def test_malformed(body: bytes, message: str) -> None:
    with pytest.raises(BatchError, match=message):
        read(body)


@pytest.mark.parametrize("value", [1.5, "1", None, True, 2**31, -(2**31) - 1, 2**70])
def test_what_int32_data_may_not_be(value: Any) -> None:
    with pytest.raises(BatchError, match="INT32"):
        read(one(datatype="INT32", data=[0, 0, 0, value]), INDEX)


def test_the_binary_part_is_exactly_as_long_as_said() -> None:
    text = one(data=None, parameters={"binary_data_size": 16})
    blob = np.arange(4, dtype=np.float32).tobytes()
    assert parse(text + blob, len(text), LIMIT).tensors["x"].array(FP32).tolist() == [0, 1, 2, 3]
    with pytest.raises(BatchError, match=rf"expected {len(text) + 16} bytes"):
        parse(text + blob + b"!", len(text), LIMIT)
    with pytest.raises(BatchError, match="the bytes left"):
        parse(text + blob[:-1], len(text), LIMIT)
    with pytest.raises(BatchError, match="Inference-Header-Content-Length"):
        parse(text, len(text) + 1, LIMIT)
    wrong = one(data=None, parameters={"binary_data_size": 8})
    with pytest.raises(BatchError, match=r"expected 16 bytes for FP32 \[2, 2\], got 8"):
        parse(wrong + blob[:8], len(wrong), LIMIT)
    none = one(data=None, shape=[0, 2], parameters={"binary_data_size": 8})
    with pytest.raises(BatchError, match="expected 0 bytes"):
        parse(none + blob[:8], len(none), LIMIT)


def test_names_come_once() -> None:
    tensor = json.loads(one())["inputs"][0]
    with pytest.raises(BatchError, match="once"):
        parse(json.dumps({"inputs": [tensor, tensor]}).encode(), None, LIMIT)


def test_long_names_are_quoted_short() -> None:
    with pytest.raises(BatchError) as caught:
        read(one(name="n" * 100_000, data=7))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "more",
    [
        {"id": 7},
        {"parameters": []},
        {"outputs": {}},
        {"outputs": [7]},
        {"outputs": [{"name": "scores", "parameters": {"binary_data": 1}}]},
        {"outputs": [{"name": "scores", "parameters": {"classification": 3}}]},
    ],
)
def test_the_rest_of_the_request_is_checked(more: Any) -> None:
    with pytest.raises(BatchError, match=next(iter(more))):
        parse(json.dumps({**json.loads(one()), **more}).encode(), None, LIMIT)


def test_timeouts() -> None:
    assert timeout_us({}) is None and timeout_us({"timeout": 0}) is None
    assert timeout_us({"timeout": 5000}) == 5000
    for value in (-1, 1.5, "5", True, 10**13):
        with pytest.raises(BatchError, match="timeout"):
            timeout_us({"timeout": value})
