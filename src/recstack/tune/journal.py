"""A search's memory on disk: every probe that was paid for, so that a search cut short goes on.

JSON lines: first the question, then notes and probes, one per line, each written by one call and
synced. A last line cut short by a crash is dropped; an answer to another question is refused.

    {"question": {"sla": "p95<=10ms", ...}}
    {"note": "curves", "value": {"": {"1": 20100.0, ...}}}
    {"key": "...", "rate_qps": 812.5, "seed": 0, "probe": {"outcome": "pass", ...}}
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recstack.errors import ConfigError, DataError
from recstack.loadtest.search import Probe

Key = tuple[str, float, int]


class Journal:
    """Probes by candidate, rate and seed; in memory alone without a path.

    question: what the probes answer; JSON. A file that holds another one is an error.
    Raises ConfigError when the question differs, DataError when the file is not a journal.
    """

    def __init__(self, path: Path | None, question: Mapping[str, Any]) -> None:
        self._path = path
        self._probes: dict[Key, Probe] = {}
        self._notes: dict[str, Any] = {}
        self.known = 0
        if path is None:
            return
        asked = json.loads(json.dumps(question))
        if path.exists() and (lines := _whole_lines(path)):
            self._read(lines, asked)
        else:
            self._append({"question": asked})

    def find(self, key: str, rate_qps: float, seed: int) -> Probe | None:
        """What this probe gave before."""
        return self._probes.get((key, rate_qps, seed))

    def add(self, key: str, rate_qps: float, seed: int, probe: Probe) -> None:
        """Keep a probe."""
        self._probes[key, rate_qps, seed] = probe
        if self._path is not None:
            self._append({"key": key, "rate_qps": rate_qps, "seed": seed, "probe": asdict(probe)})

    def note(self, name: str, make: Callable[[], Any]) -> Any:
        """What was noted under a name, else what `make` gives, JSON, which is noted now.

        A search that goes on must see what it saw, or it would ask other questions.
        """
        if name not in self._notes:
            self._notes[name] = json.loads(json.dumps(make()))
            if self._path is not None:
                self._append({"note": name, "value": self._notes[name]})
        return self._notes[name]

    def _read(self, lines: list[str], asked: Any) -> None:
        for number, line in enumerate(lines, start=1):
            try:
                found = json.loads(line)
                if number == 1:
                    question = found["question"]
                elif "note" in found:
                    self._notes[found["note"]] = found["value"]
                else:
                    place = found["key"], float(found["rate_qps"]), int(found["seed"])
                    self._probes[place] = Probe(**found["probe"])
            except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
                raise DataError(f"{self._path}:{number}: expected a journal: {error!r}") from None
        if question != asked:
            old = question if isinstance(question, dict) else {}
            differ = [k for k in sorted({*old, *asked}) if old.get(k) != asked.get(k)]
            raise ConfigError(
                f"{self._path}: expected a journal of this search, got one that differs in "
                f"{', '.join(differ)}: take another file"
            )
        self.known = len(self._probes)

    def _append(self, line: Any) -> None:
        assert self._path is not None
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
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
