"""Files that appear whole or not at all, and columns of numbers."""

from __future__ import annotations

import contextlib
import gzip
import os
import secrets
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import DataError


def write_whole(path: Path, text: str) -> None:
    """Write `text` as UTF-8: aside, synced, renamed, so that no reader ever sees a part of it.

    An existing file is replaced. Raises OSError when the disk refuses; the file of that name, if
    any, is then the previous one, and nothing else stays.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def check_writable(path: Path) -> None:
    """Raise OSError now where `write_whole` could make no file of this name later."""
    probe = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    probe.touch(exist_ok=False)
    probe.unlink()


def read_numbers(path: Path, dtype: type[np.int64] | type[np.float64]) -> NDArray[Any]:
    """The numbers (n,) of a text file with one per line, plain or gzipped; at least one.

    Raises DataError, naming the file.
    """
    try:
        raw = path.read_bytes()
        text = gzip.decompress(raw) if path.suffix == ".gz" else raw
        numbers = np.array(text.split(), dtype)
    except (OSError, EOFError, OverflowError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: expected one number per line: {error}") from None
    if not numbers.size:
        raise DataError(f"{path}: expected one number per line, got none")
    return numbers
