"""Lines of text files, plain or gzipped, one at a time; errors that name file, line and column."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recstack.errors import DataError


def lines(path: str | Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, text with its line end) of a UTF-8 file; a name in .gz is unpacked.

    A byte order mark is left out.

    Raises DataError, naming file and line, where the file cannot be read.
    """
    path, number = Path(path), 0
    opener: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            for number, raw in enumerate(file, start=1):
                yield number, raw.decode("utf-8" if number > 1 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: {error}") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}:{number + 1}: cannot read: {reason}") from error


def malformed(path: str | Path, line: int, column: str, expected: str, got: object) -> DataError:
    """The error for a field that is not as it should be.

    >>> raise malformed("a.tsv", 3, "I1 (column 2)", "an integer", "x")
    Traceback (most recent call last):
    recstack.errors.DataError: a.tsv:3: expected an integer, got 'x' - at I1 (column 2)
    """
    return DataError(f"{path}:{line}: expected {expected}, got {got!r} - at {column}")


def integer(text: str, path: str | Path, line: int, column: str) -> int:
    """A decimal integer in [0, 2^31). Raises DataError, naming the place."""
    if text.isascii() and text.isdigit() and len(text) <= 10 and (value := int(text)) < 1 << 31:
        return value
    raise malformed(path, line, column, "an integer in [0, 2^31)", text)
