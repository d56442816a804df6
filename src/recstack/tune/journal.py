"""What a search has found out so far, on disk: one that was cut short goes on where it was.

JSON lines: first what the answers depend on, then one answer each, written by one call and synced.

    {"format": 1, "sla": "p95<=10ms", ...}
    {"question": "curves", "answer": {"": {"1": 20100.0, ...}}}
    {"question": "812.5 qps, seed 0, |{...}", "answer": {"outcome": "pass", ...}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from recstack.errors import ConfigError, DataError

FORMAT = 1
T = TypeVar("T")


class Journal:
    """Answers by question; in memory alone without a path.

    about: what the answers depend on; JSON. The rest of a line that a crash cut short is dropped.
    Raises ConfigError when the file is of another search or cannot be written, DataError when it is
    no journal.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path = path
        self._answers: dict[str, Any] = {}
        if path is None:
            return
        expected = json.loads(json.dumps({"format": FORMAT, **about}))
        if path.exists() and (lines := _whole_lines(path)):
            self._read(lines, expected)
        else:
            self._append(expected)

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, question: str, kind: type[T], ask: Callable[[], T]) -> T:
        """The answer to a question: the one on file, else what `ask` says, which is then filed.

        Either way it has been through JSON: a search that goes on sees what it saw.
        """
        adapter = TypeAdapter(kind)
        if question not in self._answers:
            found = json.loads(json.dumps(adapter.dump_python(ask(), mode="json")))
            self._append({"question": question, "answer": found})
            self._answers[question] = found
        try:
            return adapter.validate_python(self._answers[question])
        except ValidationError as error:
            raise DataError(f"{self._path}: {question}: {error}") from None

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

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        data = (json.dumps(line) + "\n").encode()
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                if os.write(descriptor, data) != len(data):
                    raise OSError("the disk is full")
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror or error}") from error


def _whole_lines(path: Path) -> list[str]:
    """The lines that end; a tail without an end is cut off the file."""
    try:
        data = path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(path, len(whole))
        return whole.decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read a journal: {error}") from error
