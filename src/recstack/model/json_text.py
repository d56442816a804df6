"""JSON of model folders: read without trust, written for a person to read and compare."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from math import isinf
from pathlib import Path
from typing import Any

from recstack.errors import ModelFileError
from recstack.model.description import ModelDescription

JSON_LIMIT_BYTES = 256 << 20
_INFINITY = "infinity:9f1c6d"


def read_json(path: Path) -> Any:
    """What a file holds. Raises ModelFileError unless it is JSON of a reasonable size."""
    try:
        size = regular_size(path)
        if size > JSON_LIMIT_BYTES:
            raise ModelFileError(
                f"expected at most {JSON_LIMIT_BYTES} bytes, got {size}", str(path)
            )
        return parse_json(path.read_bytes())
    except OSError as error:
        raise ModelFileError(f"cannot read: {error.strerror}", str(path)) from error
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"expected JSON, got: {error}", str(path)) from None


def parse_json(text: bytes) -> Any:
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


def regular_size(path: Path) -> int:
    """Size in bytes of a regular file; ModelFileError for a pipe or device, which may not end."""
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ModelFileError("expected a regular file, got another kind", str(path))
    return found.st_size


def description_text(model: ModelDescription) -> str:
    """The text of model.json: defaults left out, but for the kinds and the version."""
    fields = model.model_dump(exclude_defaults=True)
    fields = {"format_version": model.format_version, **fields}
    for target, source in (("inputs", model.inputs), ("ops", model.ops)):
        fields[target] = [
            {"kind": item.kind, **raw} for item, raw in zip(source, fields[target], strict=True)
        ]
    text = _compact(_mark_infinities(fields))
    return text.replace(f'"+{_INFINITY}"', "1e999").replace(f'"-{_INFINITY}"', "-1e999")


def _mark_infinities(value: Any) -> Any:
    """`value` with infinities as strings; 1e999, which reads as infinity, then stands for them."""
    if isinstance(value, float) and isinf(value):
        return f"{'+' if value > 0 else '-'}{_INFINITY}"
    if isinstance(value, dict):
        return {k: _mark_infinities(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_mark_infinities(v) for v in value]
    return value


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
