"""One safetensors file, read and written here because its library copies every tensor."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ModelFileError
from recstack.model.json_text import JSON_LIMIT_BYTES, parse_json, regular_size
from recstack.model.mapped import Extent, MappedWeights, WeightFile
from recstack.model.requantise import Requantised

ALIGNMENT = 64
MAX_AXES = 16
# bfloat16 is uint16 here: NumPy has none.
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}

Tensor = NDArray[Any] | Requantised
Entry = tuple[int, int, tuple[int, ...], np.dtype[Any]]  # first and last + 1 byte, shape, dtype


def read_safetensors(path: Path) -> MappedWeights:
    """The tensors of a safetensors file, memory-mapped read-only; BF16 as uint16.

    Raises ModelFileError naming the tensor when the file is truncated or its header lies.
    """
    try:
        size = regular_size(path)
        with path.open("rb") as file:
            head = file.read(8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or length > min(size - 8, JSON_LIMIT_BYTES):
                raise ModelFileError(f"expected a header of {length} bytes, got {size}", str(path))
            header = parse_json(file.read(length))
        mapped = WeightFile(path)
    except OSError as error:
        raise ModelFileError(f"cannot read: {error.strerror}", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"expected a JSON header, got: {error}", str(path)) from None
    if not isinstance(header, dict):
        raise ModelFileError("expected a JSON object as header", str(path))
    start = 8 + length
    data = mapped.bytes_from(start)
    entries = {
        name: _check_entry(entry, len(data), f"{path}: {name!r}")
        for name, entry in header.items()
        if name != "__metadata__"
    }
    _check_overlap(entries, path)
    return MappedWeights(
        {
            name: Extent(mapped, start + begin, _typed(data[begin:end], dtype).reshape(shape))
            for name, (begin, end, shape, dtype) in entries.items()
        }
    )


def _typed(raw: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array at these bytes: a view where they are aligned, which all that we write are."""
    return (raw if raw.ctypes.data % dtype.itemsize == 0 else raw.copy()).view(dtype)


def _check_overlap(entries: Mapping[str, Entry], path: Path) -> None:
    """Raise ModelFileError when two tensors share bytes."""
    last = 0
    for name, (begin, end, *_) in sorted(entries.items(), key=lambda item: item[1][:2]):
        if begin < last:
            where = f"{path}: {name!r}"
            raise ModelFileError(f"expected data from byte {last} on, got {begin}", where)
        last = end


def _check_entry(entry: Any, available: int, where: str) -> Entry:
    """Offsets, shape and dtype of a header entry; ModelFileError when it does not fit the file."""
    try:
        name, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise ModelFileError("expected dtype, shape and data_offsets", where) from None
    if not isinstance(name, str) or name not in DTYPES:
        raise ModelFileError(f"expected dtype F32, F16, BF16 or U8, got {name!r:.40}", where)
    if not all(type(n) is int and 0 <= n < 1 << 48 for n in (*shape, begin, end)):
        raise ModelFileError(
            f"expected sizes and offsets >= 0, got {shape!r:.200} at {begin!r:.40} to {end!r:.40}",
            where,
        )
    if len(shape) > MAX_AXES or prod(max(n, 1) for n in shape) >= 1 << 48:
        raise ModelFileError(f"expected at most {MAX_AXES} axes, got {shape!r:.200}", where)
    if end - begin != (size := DTYPES[name].itemsize * prod(shape)):
        raise ModelFileError(f"expected {size} bytes, got {end - begin}", where)
    if end > available:
        raise ModelFileError(f"expected data up to byte {end}, got {available} bytes", where)
    return begin, end, shape, DTYPES[name]


def write_safetensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors one after the other, wide types first, without a copy; data starts at 64."""
    tensors = dict(sorted(tensors.items(), key=lambda item: -item[1].dtype.itemsize))
    header: dict[str, Any] = {}
    at = 0
    for name, array in tensors.items():
        end = at + array.nbytes
        dtype = DTYPE_NAMES[array.dtype]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for chunk in _chunks(tensors.values()):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _chunks(tensors: Iterable[Tensor]) -> Iterable[memoryview]:
    for tensor in tensors:
        for array in [tensor] if isinstance(tensor, np.ndarray) else tensor.chunks():
            if array.size:
                yield np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
