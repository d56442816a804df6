"""The envelope of a request: JSON, then the bytes of its binary tensors.

    {"id": "7", "inputs": [{"name": "dense", "datatype": "FP32", "shape": [2, 3],
      "parameters": {"binary_data_size": 24}}, ...]}<24 bytes of dense><the next tensor> ...

Nothing here knows a model. Names come from the client, so messages quote at most 80 characters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recstack.errors import BatchError
from recstack.serve.protocol.json_text import loads, shown, sort_of
from recstack.serve.protocol.tensor import DATATYPE_BYTES, Body, Tensor

MAX_TIMEOUT_US = 10**12
MAX_AXES = 64  # as NumPy; the product of many more takes seconds


@dataclass(slots=True)
class Envelope:
    """A request as the client wrote it, with its tensors by name."""

    id: str | None
    parameters: dict[str, Any]
    tensors: dict[str, Tensor]
    outputs: list[tuple[str, bool | None]]


def parse(body: Body, json_bytes: int | None, max_json_bytes: int) -> Envelope:
    """Read the JSON part, `json_bytes` long or all of `body`, and find each tensor's bytes.

    Raises BatchError with the place in the JSON.
    """
    size = len(body) if json_bytes is None else json_bytes
    if size > len(body):
        raise BatchError(
            f"expected a JSON part of at most {len(body)} bytes, the body, got {size}",
            "Inference-Header-Content-Length",
        )
    if size > max_json_bytes:
        raise BatchError(f"expected at most {max_json_bytes} bytes of JSON, got {size}", "body")
    data = loads(bytes(memoryview(body)[:size]))
    if type(data) is not dict:
        raise BatchError(f"expected a JSON object, got {sort_of(data)}", "body")
    identifier = data.get("id")
    if identifier is not None and type(identifier) is not str:
        raise BatchError(f"expected a string, got {sort_of(identifier)}", "id")
    return Envelope(
        identifier,
        _parameters(data, ""),
        _tensors(data.get("inputs"), body, size),
        _outputs(data.get("outputs")),
    )


def timeout_us(parameters: dict[str, Any]) -> int | None:
    """The request parameter `timeout`, microseconds; None where it is absent or 0."""
    value = parameters.get("timeout")
    if value is None:
        return None
    if type(value) is not int or not 0 <= value <= MAX_TIMEOUT_US:
        raise BatchError(
            f"expected microseconds, 0 to {MAX_TIMEOUT_US}, got {sort_of(value)}",
            "parameters.timeout",
        )
    return value or None


def flag(parameters: dict[str, Any], name: str, where: str) -> bool | None:
    """A boolean parameter, None where it is absent."""
    value = parameters.get(name)
    if value is not None and type(value) is not bool:
        raise BatchError(f"expected true or false, got {sort_of(value)}", f"{where}{name}")
    return value


def _tensors(items: Any, body: Body, at: int) -> dict[str, Tensor]:
    if type(items) is not list or not items:
        raise BatchError(f"expected a list of tensors, got {sort_of(items)}", "inputs")
    tensors: dict[str, Tensor] = {}
    for i, item in enumerate(items):
        tensor = _tensor(item, i, body, at)
        if tensor.name in tensors:
            raise BatchError("expected each name once, got it again", tensor.where)
        tensors[tensor.name] = tensor
        at += tensor.size_bytes
    if at != len(body):
        raise BatchError(f"expected {at} bytes (JSON and binary tensors), got {len(body)}", "body")
    return tensors


def _tensor(item: Any, i: int, body: Body, at: int) -> Tensor:
    if type(item) is not dict:
        raise BatchError(f"expected an object, got {sort_of(item)}", f"inputs[{i}]")
    name, datatype, shape = item.get("name"), item.get("datatype"), item.get("shape")
    if type(name) is not str:
        raise BatchError(f"expected a string, got {sort_of(name)}", f"inputs[{i}].name")
    where = f"inputs[{i}] {name[:80]!r}"
    if type(datatype) is not str or datatype not in DATATYPE_BYTES:
        known = ", ".join(DATATYPE_BYTES)
        raise BatchError(f"expected one of {known}, got {shown(datatype)}", where)
    if type(shape) is not list:
        raise BatchError(f"expected a list of sizes as shape, got {sort_of(shape)}", where)
    if len(shape) > MAX_AXES:
        raise BatchError(f"expected at most {MAX_AXES} axes, got {len(shape)}", where)
    count = 1
    for axis, n in enumerate(shape):
        if type(n) is not int or not 0 <= n < 1 << 31:
            got = f"{sort_of(n)} on axis {axis}"
            raise BatchError(f"expected sizes of 0 to 2**31 - 1 as shape, got {got}", where)
        count *= n
    parameters = item.get("parameters")
    size = None
    if parameters is not None:
        if type(parameters) is not dict:
            raise BatchError(f"expected parameters as an object, got {sort_of(parameters)}", where)
        size = parameters.get("binary_data_size")
        if "shared_memory_region" in parameters:
            raise BatchError("expected data, got shared memory, which is not supported", where)
    data = item.get("data")
    if size is None:
        if type(data) is not list:
            raise BatchError(f"expected data as a list, got {sort_of(data)}", where)
        return Tensor(name, datatype, tuple(shape), count, where, data, None, 0, 0)
    if data is not None:
        raise BatchError("expected data or binary_data_size, got both", where)
    if type(size) is not int or size < 0 or size > len(body) - at:
        raise BatchError(
            f"expected a binary_data_size of 0 to {len(body) - at}, the bytes left, "
            f"got {sort_of(size)}",
            where,
        )
    want = count * DATATYPE_BYTES[datatype]
    if size != want and datatype != "BYTES":
        raise BatchError(f"expected {want} bytes for {datatype} {_brief(shape)}, got {size}", where)
    return Tensor(name, datatype, tuple(shape), count, where, None, body, at, size)


def _outputs(items: Any) -> list[tuple[str, bool | None]]:
    if items is None:
        return []
    if type(items) is not list:
        raise BatchError(f"expected a list, got {sort_of(items)}", "outputs")
    outputs = []
    for i, item in enumerate(items):
        if type(item) is not dict or type(item.get("name")) is not str:
            raise BatchError("expected an object with a name, got none", f"outputs[{i}]")
        parameters = _parameters(item, f"outputs[{i}].")
        for unsupported in ("classification", "shared_memory_region"):
            if parameters.get(unsupported):
                raise BatchError(
                    f"expected no {unsupported}, got it: it is not supported",
                    f"outputs[{i}].parameters",
                )
        binary = flag(parameters, "binary_data", f"outputs[{i}].parameters.")
        outputs.append((item["name"], binary))
    return outputs


def _parameters(holder: dict[str, Any], where: str) -> dict[str, Any]:
    parameters = holder.get("parameters")
    if parameters is None:
        return {}
    if type(parameters) is not dict:
        raise BatchError(f"expected an object, got {sort_of(parameters)}", f"{where}parameters")
    return parameters


def _brief(shape: list[int]) -> str:
    return str(shape) if len(shape) <= 8 else f"of {len(shape)} axes"
