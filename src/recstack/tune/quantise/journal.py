"""What a search has measured so far, on disk: a search that was stopped goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from recstack.errors import ConfigError

FORMAT = 1
T = TypeVar("T")


class Journal:
    """Answers by question, one JSON line each, the first line saying of which search.

    path: None keeps them in memory only. about: what the answers depend on. A line is written whole
    and synced before it is used; the rest of a line that a crash cut short is dropped. Raises
    ConfigError when the file is of another search, or cannot be read or written.
    """

    def __init__(self, path: Path | None, about: Mapping[str, Any]) -> None:
        self._path = path
        self._answers: dict[str, Any] = {}
        self._about = json.loads(json.dumps({"format": FORMAT, **about}))
        if path is not None:
            self._open(path)

    def __len__(self) -> int:
        return len(self._answers)

    def answer(self, question: str, kind: type[T], ask: Callable[[], T]) -> T:
        """The answer to a question: the one on file, else what `ask` says, which is then filed."""
        adapter = TypeAdapter(kind)
        if question in self._answers:
            try:
                return adapter.validate_python(self._answers[question])
            except ValidationError as error:
                raise ConfigError(f"{self._path}: {question}: {error}") from None
        found = ask()
        self._answers[question] = data = adapter.dump_python(found, mode="json")
        self._append({"question": question, "answer": data})
        return found

    def _open(self, path: Path) -> None:
        try:
            text = path.read_bytes() if path.exists() else b""
            whole = text[: text.rfind(b"\n") + 1]
            lines = whole.decode().splitlines()
            if not lines:
                path.write_bytes(b"")
                self._append(self._about)
                return
            if len(whole) < len(text):
                os.truncate(path, len(whole))
            self._check(json.loads(lines[0]))
            for line in lines[1:]:
                entry = json.loads(line)
                self._answers[entry["question"]] = entry["answer"]
        except (OSError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise ConfigError(f"cannot read the journal {path}: {error}") from error

    def _check(self, found: Any) -> None:
        for key, value in self._about.items():
            got = found.get(key) if isinstance(found, dict) else None
            if got != value:
                raise ConfigError(
                    f"expected the journal of this search, got one with {key} = {got!r} instead of "
                    f"{value!r}: remove {self._path} or choose another folder"
                )

    def _append(self, entry: Mapping[str, Any]) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}") from error
