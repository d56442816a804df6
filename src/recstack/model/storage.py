"""Model folders: `model.json` beside `weights.safetensors`, or shards and their index past 4 GB.

Weights are memory-mapped on load: nothing is read before it is used, and processes share pages.
The safetensors format is read and written here because its library copies every tensor.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from math import isinf, prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ModelError, ModelFileError
from recstack.model.description import ModelDescription, parse_description
from recstack.model.mapped import Extent, MappedWeights, WeightFile
from recstack.model.model import Model, build
from recstack.model.requantise import Requantised, requantised_weights
from recstack.rows import RowFormat

JSON_LIMIT_BYTES = 256 << 20
SHARD_BYTES = 4 << 30
ALIGNMENT = 64
MAX_AXES = 16
INDEX_NAME = "weights.safetensors.index.json"
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


def load(folder: str | Path) -> Model:
    """The model in `folder`, its weights memory-mapped.

    Raises ModelFileError naming file and place when a file is missing, truncated or malformed.
    """
    root = Path(folder)
    data = _read_json(root / "model.json")
    try:
        description = parse_description(data)
        return build(description, _load_weights(root))
    except ModelFileError:
        raise
    except ModelError as error:
        raise ModelFileError(str(error), str(root)) from None


def save(
    model: Model, folder: Path, table_formats: Mapping[str, RowFormat], *, greedy: bool = True
) -> None:
    """Write `model` into `folder`, with these tables in these formats (`Model.save`).

    What stood there before stays until all is written.
    """
    description, weights = requantised_weights(model, table_formats, greedy=greedy)
    folder = folder.resolve()
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        (partial / "model.json").write_text(_description_text(description), encoding="utf-8")
        _save_weights(partial, weights)
        _replace(partial, folder)
    except OSError as error:
        raise ModelFileError(f"cannot write the model: {error.strerror}", str(folder)) from error
    except ValueError as error:
        raise ModelFileError(f"cannot write the description: {error}", str(folder)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _description_text(model: ModelDescription) -> str:
    """The text of model.json: defaults left out, but for the kinds and the version."""
    fields = model.model_dump(exclude_defaults=True)
    fields = {"format_version": model.format_version, **fields}
    for target, source in (("inputs", model.inputs), ("ops", model.ops)):
        fields[target] = [
            {"kind": item.kind, **raw} for item, raw in zip(source, fields[target], strict=True)
        ]
    text = _compact(_mark_infinities(fields))
    return text.replace(f'"+{_INFINITY}"', "1e999").replace(f'"-{_INFINITY}"', "-1e999")


_INFINITY = "infinity:9f1c6d"


def _mark_infinities(value: Any) -> Any:
    """`value` with infinities as strings; 1e999, which reads as infinity, then stands for them."""
    if isinstance(value, float) and isinf(value):
        return f"{'+' if value > 0 else '-'}{_INFINITY}"
    if isinstance(value, dict):
        return {k: _mark_infinities(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_infinities(v) for v in value]
    return value


def _replace(partial: Path, folder: Path) -> None:
    """Move `partial` to `folder`, replacing a model there but no other folder."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "model.json").exists():
            raise ModelFileError("expected a model folder or none, got another folder", str(folder))
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(folder)


def _compact(fields: Mapping[str, Any]) -> str:
    """JSON with one line per input, op and stored table, for a person to read and compare."""
    parts = []
    for key, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n  ".join(json.dumps(v, allow_nan=False) for v in value)
            parts.append(f" {json.dumps(key)}: [\n  {lines}\n ]")
        elif isinstance(value, dict):
            named = (f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in value.items())
            lines = ",\n  ".join(named)
            parts.append(f" {json.dumps(key)}: {{\n  {lines}\n }}")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _read_json(path: Path) -> Any:
    try:
        size = _regular(path)
        if size > JSON_LIMIT_BYTES:
            raise ModelFileError(
                f"expected at most {JSON_LIMIT_BYTES} bytes, got {size}", str(path)
            )
        return _parse_json(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot read: {error.strerror}", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"expected JSON, got: {error}", str(path)) from None


def _parse_json(text: bytes) -> Any:
    """Parsed JSON; ValueError for a key given twice and for NaN and Infinity."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"the number {name}")


def _regular(path: Path) -> int:
    """Size in bytes of a regular file; ModelFileError for a pipe or device, which may not end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError("expected a regular file, got another kind", str(path))
    return found.st_size


def _load_weights(root: Path) -> MappedWeights:
    index = root / INDEX_NAME
    if not index.exists():
        return read_safetensors(root / "weights.safetensors")
    listing = _read_json(index)
    names = listing.get("weight_map") if isinstance(listing, dict) else None
    if not isinstance(names, dict) or not all(isinstance(f, str) for f in names.values()):
        raise ModelFileError("expected an object `weight_map` of file names", str(index))
    weights = MappedWeights({})
    for file in sorted(set(names.values())):
        if Path(file).name != file or file in ("", ".."):
            raise ModelFileError(f"expected a plain file name, got {file!r}", str(index))
        shard = read_safetensors(root / file)
        for name in shard:
            if names.get(name) != file:
                where = f"{root / file}: {name!r}"
                raise ModelFileError(f"expected a weight that {INDEX_NAME} places here", where)
        weights = weights.merged(shard)
    if missing := sorted(set(names) - set(weights)):
        raise ModelFileError(f"expected weight {missing[0]!r} in its shard, got none", str(index))
    return weights


def read_safetensors(path: Path) -> MappedWeights:
    """The tensors of a safetensors file, memory-mapped read-only; BF16 as uint16.

    Raises ModelFileError naming the tensor when the file is truncated or its header lies.
    """
    try:
        size = _regular(path)
        with path.open("rb") as file:
            head = file.read(8)
            length = int.from_bytes(head, "little")
            if len(head) < 8 or length > min(size - 8, JSON_LIMIT_BYTES):
                raise ModelFileError(f"expected a header of {length} bytes, got {size}", str(path))
            header = _parse_json(file.read(length))
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


def _save_weights(folder: Path, weights: Mapping[str, Tensor]) -> None:
    shards: list[list[str]] = [[]]
    size = 0
    for name, array in weights.items():
        if shards[-1] and size + array.nbytes > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += array.nbytes
    if len(shards) == 1:
        write_safetensors(folder / "weights.safetensors", weights)
        return
    files = {}
    for i, names in enumerate(shards, start=1):
        file = f"weights-{i:05d}-of-{len(shards):05d}.safetensors"
        write_safetensors(folder / file, {name: weights[name] for name in names})
        files.update(dict.fromkeys(names, file))
    total = sum(array.nbytes for array in weights.values())
    listing = {"metadata": {"total_size": total}, "weight_map": files}
    (folder / INDEX_NAME).write_text(json.dumps(listing, indent=1), encoding="utf-8")


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
