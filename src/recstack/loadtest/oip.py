"""Open Inference Protocol v2 with the binary tensor extension, as a client speaks it.

A recstack server takes any model's batch in the packed form: the arrays of `Batch` under their own
names, blobs behind a JSON header in the order of its inputs. Empty arrays are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.errors import BatchError, ConfigError
from recstack.types import Scores

_PACKED = {
    "dense": ("FP32",),
    "user_dense": ("FP32",),
    "values": ("INT32", "INT64"),
    "lengths": ("INT32",),
    "query_offsets": ("INT32",),
    "weights": ("FP32",),
}
_DTYPES: dict[str, np.dtype[Any]] = {
    "FP32": np.dtype("<f4"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
}
TIMEOUT_KEY, TIMEOUT_DIGITS = b',"timeout":', 12


@dataclass(frozen=True, slots=True)
class Metadata:
    """What `GET v2/models/M` says: datatype by input name, and the names of the outputs."""

    model: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]


def parse_metadata(body: bytes) -> Metadata:
    """Read a model's metadata.

    Raises
    ------
    ConfigError: it is not JSON, or lacks what the protocol asks for.

    >>> parse_metadata(b'{"name": "rm2", "inputs": [], "outputs": [{"name": "scores"}]}').outputs
    ('scores',)
    """
    try:
        found = json.loads(body)
        return Metadata(
            model=str(found["name"]),
            inputs={str(i["name"]): str(i["datatype"]) for i in found["inputs"]},
            outputs=tuple(str(o["name"]) for o in found["outputs"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"expected a model's metadata, got {body[:80]!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Message:
    """A whole HTTP request, but for its timeout."""

    before: bytes
    after: bytes
    rows: int

    def parts(self, timeout_us: int | None) -> tuple[bytes, bytes, bytes]:
        """The request's bytes; the timeout fills a gap of fixed width, nothing is encoded anew."""
        if timeout_us is None:
            return self.before, _NO_TIMEOUT, self.after
        timeout = min(max(timeout_us, 1), 10**TIMEOUT_DIGITS - 1)
        return self.before, b"%s%-*d" % (TIMEOUT_KEY, TIMEOUT_DIGITS, timeout), self.after


_NO_TIMEOUT = b" " * (len(TIMEOUT_KEY) + TIMEOUT_DIGITS)


class Encoder:
    """Turns batches into requests for one model.

    Parameters
    ----------
    metadata: of the model; where it names a packed input its datatype is used.
    host: for the Host header.

    Raises
    ------
    ConfigError: the model wants a packed input in a datatype that a batch cannot give, or has
        several outputs and none is called `scores`.
    """

    def __init__(self, metadata: Metadata, host: str) -> None:
        for name, allowed in _PACKED.items():
            if metadata.inputs.get(name, allowed[0]) not in allowed:
                raise ConfigError(
                    f"expected {' or '.join(allowed)}, got {metadata.inputs[name]} - at input "
                    f"`{name}` of model {metadata.model!r}"
                )
        self.output = _output(metadata)
        self._inputs = metadata.inputs
        self._target = f"/v2/models/{quote(metadata.model, safe='')}/infer"
        self._host = host

    def encode(self, batch: Batch) -> Message:
        """The request for a batch.

        Raises
        ------
        BatchError: an index does not fit the model's datatype.
        """
        inputs, blobs = [], []
        for name in _PACKED:
            array = getattr(batch, name)
            if array is None or not array.size:
                continue
            if name == "lengths":
                array = array.reshape(-1)
            datatype = self._inputs.get(name, _datatype(array, name))
            blob = _cast(array, datatype, name).tobytes()
            blobs.append(blob)
            inputs.append(
                {
                    "name": name,
                    "shape": array.shape,
                    "datatype": datatype,
                    "parameters": {"binary_data_size": len(blob)},
                }
            )
        rest = {
            "inputs": inputs,
            "outputs": [{"name": self.output, "parameters": {"binary_data": True}}],
        }
        opening = b'{"parameters":{"binary_data_output":true'
        closing = b"}," + json.dumps(rest, separators=(",", ":")).encode()[1:]
        header_bytes = len(opening) + len(_NO_TIMEOUT) + len(closing)
        head = (
            f"POST {self._target} HTTP/1.1\r\nHost: {self._host}\r\n"
            "Content-Type: application/octet-stream\r\n"
            f"Inference-Header-Content-Length: {header_bytes}\r\n"
            f"Content-Length: {header_bytes + sum(map(len, blobs))}\r\n\r\n"
        )
        return Message(head.encode() + opening, b"".join((closing, *blobs)), batch.rows)


def decode(
    body: bytes, header_bytes: int | None, output: str, rows: int
) -> tuple[Scores, dict[str, int]]:
    """Scores of an answer, and the stages it reports.

    Parameters
    ----------
    body: the answer's body.
    header_bytes: its Inference-Header-Content-Length; None when it is all JSON.
    output: the output to read.
    rows: rows that were asked for.

    Returns
    -------
    (rows, outputs) float32, a view of `body` where binary; and by name the nanoseconds of every
    response parameter `<name>_ns`.

    Raises
    ------
    ValueError: the answer does not follow the protocol; the message says where.
    """
    header_bytes = len(body) if header_bytes is None else header_bytes
    if not 0 < header_bytes <= len(body):
        raise ValueError(f"expected a JSON header within {len(body)} bytes, got {header_bytes}")
    answer = json.loads(body[:header_bytes])
    try:
        at = header_bytes
        for tensor in answer["outputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size", 0)
            if tensor["name"] == output:
                return _scores(tensor, body[at : at + size], rows), _stages(answer)
            at += size
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"expected an inference answer: {error!r}") from error
    raise ValueError(f"expected output {output!r}, got none of that name")


def _scores(tensor: Mapping[str, Any], blob: bytes, rows: int) -> Scores:
    shape = tuple(int(n) for n in tensor["shape"])
    if tensor["datatype"] != "FP32" or not shape or shape[0] != rows:
        raise ValueError(f"expected FP32 [{rows}, ...], got {tensor['datatype']} {list(shape)}")
    flat: NDArray[np.float32]
    flat = np.asarray(tensor["data"], np.float32).reshape(-1) if "data" in tensor else _view(blob)
    if flat.size != math.prod(shape):
        raise ValueError(f"expected {math.prod(shape)} scores for {list(shape)}, got {flat.size}")
    return flat.reshape(rows, -1) if rows else flat.reshape(0, math.prod(shape[1:]))


def _view(blob: bytes) -> NDArray[np.float32]:
    if len(blob) % 4:
        raise ValueError(f"expected a multiple of 4 bytes of FP32, got {len(blob)}")
    return np.frombuffer(blob, "<f4")


def _stages(answer: Mapping[str, Any]) -> dict[str, int]:
    parameters = answer.get("parameters") or {}
    return {
        name.removesuffix("_ns"): value
        for name, value in parameters.items()
        if name.endswith("_ns") and isinstance(value, int)
    }


def _output(metadata: Metadata) -> str:
    if not metadata.outputs or "scores" in metadata.outputs:
        return "scores"
    if len(metadata.outputs) > 1:
        raise ConfigError(
            f"expected an output `scores` or one output, got {', '.join(metadata.outputs)}"
        )
    return metadata.outputs[0]


def _datatype(array: NDArray[Any], name: str) -> str:
    for datatype in _PACKED[name]:
        if _DTYPES[datatype] == array.dtype:
            return datatype
    raise BatchError(f"expected {' or '.join(_PACKED[name])}, got {array.dtype}", name)


def _cast(array: NDArray[Any], datatype: str, name: str) -> NDArray[Any]:
    want = _DTYPES[datatype]
    if array.dtype == np.int64 and want == np.dtype("<i4"):
        limits = np.iinfo(np.int32)
        if int(array.max()) > limits.max or int(array.min()) < limits.min:
            raise BatchError(f"expected indices that fit {datatype}, got {array.max()}", name)
    return np.ascontiguousarray(array, want)
