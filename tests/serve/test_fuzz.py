"""Malformed bodies: always an answer, never 500."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recstack.errors import BatchError
from recstack.serve.protocol import Codec

OPTIONS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "FP32", "INT32", "INT64", "dense", "lengths", "\ud800", "scores"])
)
VALUES = st.recursive(
    SCALARS,
    lambda v: (
        st.lists(v, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "binary_data_size"]
            ),
            v,
            max_size=4,
        )
    ),
    max_leaves=12,
)
WIRE = (400, 413)


@pytest.fixture(scope="module")
def client(shop: Any) -> Any:
    with shop.client() as client:
        yield client


def check(client: Any, body: bytes, json_bytes: Any = None) -> None:
    headers = {} if json_bytes is None else {"Inference-Header-Content-Length": json_bytes}
    reply = client.ask("/v2/models/shop/infer", body, headers, method="POST")
    assert reply.status in (*WIRE, 200), reply
    if reply.status != 200:
        assert reply.json()["error"]


@OPTIONS
@given(body=st.binary(max_size=300), json_bytes=st.none() | st.integers(-5, 400))
def test_bytes(client: Any, body: bytes, json_bytes: int | None) -> None:
    check(client, body or b"x", json_bytes)


@OPTIONS
@given(value=VALUES)
def test_json_of_any_shape(client: Any, value: Any) -> None:
    for body in (value, {"inputs": value}, {"inputs": [value]}):
        check(client, json.dumps(body).encode())


@OPTIONS
@given(data=st.data())
def test_a_good_request_with_one_thing_changed(client: Any, tools: Any, data: Any) -> None:
    batch = tools.batch(3, 2)
    named, binary = data.draw(st.booleans()), data.draw(st.booleans())
    body, size = tools.encode(tools.named(batch) if named else tools.packed(batch), binary)
    head = json.loads(body[:size])
    target: Any = data.draw(st.sampled_from([head, *head["inputs"]]))
    key = data.draw(st.sampled_from([*target, "parameters", "outputs", "id"]))
    target[key] = data.draw(VALUES)
    text = json.dumps(head).encode()
    check(client, text + (body[size:] if size else b""), len(text) if size else None)


@OPTIONS
@given(data=st.data())
def test_a_good_request_with_bytes_changed(client: Any, tools: Any, data: Any) -> None:
    body, size = tools.encode(tools.packed(tools.batch(3, 2)))
    at = data.draw(st.integers(0, len(body) - 1))
    cut = data.draw(st.integers(0, 9))
    changed = body[:at] + data.draw(st.binary(max_size=9)) + body[at + cut :]
    check(client, changed, size)


@OPTIONS
@given(body=st.binary(max_size=200), size=st.none() | st.integers(0, 200))
def test_the_codec_raises_nothing_else(tools: Any, body: bytes, size: int | None) -> None:
    codec = Codec(tools.model())
    with pytest.raises(BatchError):
        codec.decode(body, size)


def test_the_server_is_well_after_all_that(client: Any) -> None:
    assert client.ask("/v2/health/ready").json() == {"ready": True}
