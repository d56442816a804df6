"""Replies as bytes: scores in JSON or binary, and errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from recstack.types import Scores

SCORES = "scores"


def dumps(value: Any) -> bytes:
    """Compact JSON; raises ValueError for NaN and infinity, which JSON cannot hold."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode()


def prefix(model: str) -> bytes:
    """What every answer of a model begins with."""
    return b'{"model_name":' + dumps(model) + b',"model_version":"1"'


def opening(model: bytes, identifier: str | None, stages_ns: Mapping[str, int]) -> bytes:
    """What an answer holds before its outputs: model, id, and each stage as `<stage>_ns`."""
    start = model if identifier is None else b'%b,"id":%b' % (model, dumps(identifier))
    if stages_ns:
        times = ",".join([f'"{stage}_ns":{int(ns)}' for stage, ns in stages_ns.items()])
        start += b',"parameters":{%b}' % times.encode()
    return start


def binary_scores(start: bytes, scores: Scores) -> tuple[bytes, bytes]:
    """The JSON part and the bytes of one answer in the binary tensor form."""
    rows, width = scores.shape
    head = b'%b,"outputs":[{"name":"scores","datatype":"FP32","shape":[%d,%d],"parameters":' % (
        start,
        rows,
        width,
    )
    data = scores.astype("<f4", copy=False).tobytes()
    return head + b'{"binary_data_size":%d}}]}' % len(data), data


def json_scores(start: bytes, scores: Scores) -> bytes:
    """One answer in JSON, data flat and row-major.

    Raises ValueError for a score that is not finite.
    """
    rows, width = scores.shape
    data = dumps(np.ravel(scores).tolist())
    return b'%b,"outputs":[{"name":"scores","datatype":"FP32","shape":[%d,%d],"data":%b}]}' % (
        start,
        rows,
        width,
        data,
    )


def error_body(message: str, where: str = "", status: str = "") -> bytes:
    """The body of an error reply: `error`, and where known `where` and the SUT's `status`."""
    body = {"error": message}
    if where:
        body["where"] = where
    if status:
        body["status"] = status
    return dumps(body)
