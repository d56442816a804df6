from __future__ import annotations

import json

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.errors import BatchError, ConfigError
from recstack.loadtest.null import empty_query
from recstack.loadtest.oip import Encoder, Message, Metadata, decode, parse_metadata

META = Metadata("rm2", {}, ("scores",))


def batch(values: np.ndarray | None = None, weights: np.ndarray | None = None) -> Batch:
    """Two rows of one query, three features; `dense` is not contiguous."""
    return Batch(
        dense=np.arange(12, dtype=np.float32).reshape(2, 6)[:, ::2],
        user_dense=np.zeros((1, 0), np.float32),
        values=np.array([7, 9, 4, 5], np.int32) if values is None else values,
        lengths=np.array([[1, 1], [0, 1], [1, 0]], np.int32),
        query_offsets=np.array([0, 2], np.int32),
        weights=weights,
    )


def split(message: Message, timeout_us: int | None = None) -> tuple[bytes, dict, bytes]:
    """HTTP head, JSON header and blobs of a request, checking the lengths it states."""
    head, _, body = b"".join(message.parts(timeout_us)).partition(b"\r\n\r\n")
    fields = dict(line.split(": ") for line in head.decode().split("\r\n")[1:])
    assert int(fields["Content-Length"]) == len(body)
    size = int(fields["Inference-Header-Content-Length"])
    return head, json.loads(body[:size]), body[size:]


def test_a_request_holds_the_packed_form() -> None:
    head, header, blobs = split(Encoder(META, "h:80").encode(batch()))
    assert head.startswith(b"POST /v2/models/rm2/infer HTTP/1.1\r\nHost: h:80\r\n")
    assert [(i["name"], i["datatype"], i["shape"]) for i in header["inputs"]] == [
        ("dense", "FP32", [2, 3]),
        ("values", "INT32", [4]),
        ("lengths", "INT32", [6]),
        ("query_offsets", "INT32", [2]),
    ]
    sizes = [i["parameters"]["binary_data_size"] for i in header["inputs"]]
    assert sizes == [24, 16, 24, 8] and len(blobs) == sum(sizes)
    assert np.frombuffer(blobs[:24], "<f4").tolist() == [0, 2, 4, 6, 8, 10]
    assert np.frombuffer(blobs[24:40], "<i4").tolist() == [7, 9, 4, 5]
    assert header["outputs"] == [{"name": "scores", "parameters": {"binary_data": True}}]


@pytest.mark.parametrize(
    ("timeout_us", "want"), [(None, None), (1, 1), (5000, 5000), (0, 1), (10**15, 10**12 - 1)]
)
def test_the_timeout_is_filled_in_without_changing_the_length(
    timeout_us: int | None, want: int | None
) -> None:
    _, header, _ = split(Encoder(META, "h").encode(batch()), timeout_us)
    assert header["parameters"].get("timeout") == want
    assert header["parameters"]["binary_data_output"] is True


def test_weights_and_wide_indices() -> None:
    wide = batch(np.array([1, 2, 3, 1 << 40]), np.ones(4, np.float32))
    _, header, _ = split(Encoder(META, "h").encode(wide))
    assert [i["datatype"] for i in header["inputs"]] == ["FP32", "INT64", "INT32", "INT32", "FP32"]


def test_the_models_datatype_decides() -> None:
    wants64 = Encoder(Metadata("m", {"values": "INT64"}, ()), "h").encode(batch())
    assert split(wants64)[1]["inputs"][1]["datatype"] == "INT64"
    wants32 = Encoder(Metadata("m", {"values": "INT32"}, ()), "h")
    narrow = wants32.encode(batch(np.array([1, 2, 3, 4], np.int64)))
    assert split(narrow)[1]["inputs"][1]["parameters"]["binary_data_size"] == 16
    with pytest.raises(BatchError, match="fit INT32, got 1099511627776 - at `values`"):
        wants32.encode(batch(np.array([1, 2, 3, 1 << 40])))


def test_wrong_arrays_and_models_are_refused() -> None:
    with pytest.raises(BatchError, match="expected FP32, got float64 - at `dense`"):
        Encoder(META, "h").encode(batch().replace(dense=np.zeros((2, 3))))
    with pytest.raises(ConfigError, match="expected FP32, got FP16 - at input `dense`"):
        Encoder(Metadata("m", {"dense": "FP16"}, ()), "h")
    with pytest.raises(ConfigError, match="expected an output `scores` or one output, got a, b"):
        Encoder(Metadata("m", {}, ("a", "b")), "h")
    assert Encoder(Metadata("m", {}, ("ctr",)), "h").output == "ctr"


def test_a_model_name_is_quoted_and_empty_arrays_are_left_out() -> None:
    head, header, _ = split(Encoder(Metadata("a b/c", {}, ()), "h").encode(empty_query(0, 3).batch))
    assert head.startswith(b"POST /v2/models/a%20b%2Fc/infer ")
    assert [i["name"] for i in header["inputs"]] == ["query_offsets"]


def answer(outputs: list[dict], blobs: bytes = b"", **fields: object) -> tuple[bytes, int]:
    header = json.dumps({"model_name": "m", "outputs": outputs, **fields}).encode()
    return header + blobs, len(header)


def tensor(name: str, shape: list[int], size: int) -> dict:
    parameters = {"binary_data_size": size}
    return {"name": name, "datatype": "FP32", "shape": shape, "parameters": parameters}


def test_scores_are_found_behind_other_outputs() -> None:
    blobs = b"\0" * 8 + np.array([1, 2, 3, 4], "<f4").tobytes()
    body, size = answer([tensor("x", [2], 8), tensor("scores", [2, 2], 16)], blobs)
    scores, stages = decode(body, size, "scores", 2)
    assert scores.tolist() == [[1, 2], [3, 4]] and stages == {}


def test_json_scores_and_reported_stages_are_read() -> None:
    output = {"name": "scores", "datatype": "FP32", "shape": [2], "data": [0.5, 1]}
    body, _ = answer([output], parameters={"queue_ns": 7, "run_ns": 9, "note_ns": "x", "n": 1})
    scores, stages = decode(body, None, "scores", 2)
    assert scores.tolist() == [[0.5], [1.0]] and scores.dtype == np.float32
    assert stages == {"queue": 7, "run": 9}


@pytest.mark.parametrize(
    ("body", "size", "message"),
    [
        (b"{", None, "Expecting"),
        (b"[]", None, "inference answer"),
        (b"{}", None, "inference answer"),
        (b"{}", 0, "JSON header within 2 bytes, got 0"),
        (b"{}", 3, "JSON header within 2 bytes, got 3"),
        (*answer([tensor("x", [2, 1], 8)], b"\0" * 8), "expected output 'scores'"),
        (*answer([tensor("scores", [3, 1], 12)], b"\0" * 12), r"got FP32 \[3, 1\]"),
        (*answer([tensor("scores", [2, 1], 8)], b"\0" * 4), "expected 2 scores .*, got 1"),
        (*answer([tensor("scores", [2, 1], 7)], b"\0" * 8), "multiple of 4"),
        (*answer([tensor("scores", [2, -1], 8)], b"\0" * 8), "expected -2 scores"),
        (*answer([{**tensor("scores", [2, 1], 8), "datatype": "FP64"}]), "got FP64"),
        (*answer([{**tensor("scores", [2], 8), "data": [[1], [2, 3]]}]), "inhomogeneous"),
        (*answer([{"name": "scores", "datatype": "FP32", "shape": None}]), "inference answer"),
    ],
)  # fmt: skip
def test_a_malformed_answer_is_refused(body: bytes, size: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(body, size, "scores", 2)


def test_metadata() -> None:
    text = {
        "name": "rm2",
        "inputs": [{"name": "dense", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert parse_metadata(json.dumps(text).encode()) == Metadata(
        "rm2", {"dense": "FP32"}, ("scores",)
    )
    for body in (b"", b"[]", b"{}", b'{"name": "x", "inputs": [1], "outputs": []}'):
        with pytest.raises(ConfigError, match="metadata"):
            parse_metadata(body)
