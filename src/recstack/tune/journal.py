"""What a search has found out so far, on disk: one that was cut short goes on where it was.

JSON lines: first what the answers depend on, then one answer each, written by one call and synced.

    {"format": 1, "sla": "p95<=10ms", ...}
    {"question": "curves", "answer": {"": {"1": 20100.0, ...}}}
    {"question": "812.5 qps, seed 0, |{...}", "answer": {"outcome": "pass", ...}}
"""

from __future__ import annotations

import fcntl
import json
import os
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from recstack.errors import ConfigError, DataError

FORMAT = 1
T = TypeVar("T")


class Journal:
    """Answers by question; in memory alone without a path.

    about: what the answers depend on; JSON. The rest of a line that a crash cut short is dropped.
    No other process may use the file until `close`, which leaving a `with` block calls. Raises
    ConfigError when the file is of another search, is in use or cannot be written, DataError when
    it is no journal; the file is then as it was.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path = path
        self._answers: dict[str, Any] = {}
        if path is None:
            return
        self._file = _locked(path)
        self._close = weakref.finalize(self, os.close, self._file)
        try:
            self._start(json.loads(json.dumps({"format": FORMAT, **about})))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others use the file; what would be filed after this is kept in memory alone."""
        if self._path is not None:
            self._close()
            self._path = None

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, question: str, kind: type[T], ask: Callable[[], T]) -> T:
        """The answer to a question: the one on file, else what `ask` says, which is then filed.

        Either way it has been through JSON: a search that goes on sees what it saw.
        """
        adapter = TypeAdapter(kind)
        if question not in self._answers:
            found = json.loads(json.dumps(adapter.dump_python(ask(), mode="json")))
            self._append(_line({"question": question, "answer": found}))
            self._answers[question] = found
        try:
            return adapter.validate_python(self._answers[question])
        except ValidationError as error:
            raise DataError(f"{self._path}: {question}: {error}") from None

    def _start(self, expected: dict[str, Any]) -> None:
        """Read the lines that end; only then cut off a tail without an end."""
        header = _line(expected)
        try:
            data = _bytes(self._file)
            whole = data[: data.rfind(b"\n") + 1]
            if not whole and not header.startswith(data):
                raise DataError(f"{self._path}:1: expected a journal, got another file")
            self._read(whole.decode("utf-8").splitlines(), expected)
            if len(whole) < len(data):
                os.ftruncate(self._file, len(whole))
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{self._path}: cannot read a journal: {error}") from error
        if not whole:
            self._append(header)

    def _read(self, lines: list[str], expected: dict[str, Any]) -> None:
        for number, line in enumerate(lines, start=1):
            try:
                found = json.loads(line)
                if number == 1:
                    self._check(dict(found), expected)
                else:
                    self._answers[found["question"]] = found["answer"]
            except (LookupError, RecursionError, TypeError, ValueError) as error:
                raise DataError(f"{self._path}:{number}: expected a journal: {error!r}") from None

    def _check(self, found: dict[str, Any], expected: dict[str, Any]) -> None:
        differ = [
            f"{key} = {found.get(key)!r} instead of {expected.get(key)!r}"
            for key in sorted({*found, *expected})
            if found.get(key) != expected.get(key)
        ]
        if differ:
            raise ConfigError(
                f"{self._path}: expected the journal of this search, got one that differs in "
                f"{', '.join(differ)}: remove it or choose another place"
            )

    def _append(self, line: bytes) -> None:
        if self._path is None:
            return
        try:
            if os.write(self._file, line) != len(line):
                raise OSError("the disk is full")
            os.fsync(self._file)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error


def _line(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data) + "\n").encode()


def _locked(path: Path) -> int:
    """The file, open to be read and appended to by this process alone."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(file)
            raise
    except BlockingIOError:
        raise ConfigError(
            f"{path}: expected a journal that nobody uses, got one of a search that is running: "
            "wait for it or choose another place"
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
    return file


def _bytes(file: int) -> bytes:
    with os.fdopen(os.dup(file), "rb") as reader:
        return reader.read()
