"""The result files of a report, read and sorted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from recstack import results
from recstack.errors import DataError, first_fault
from recstack.report.records import SORTS, Found, Record

KINDS = ("quickstart", "tune", "load", "policies", "bench", "quantize", "mlperf")
T = TypeVar("T", bound=Record)


@dataclass(frozen=True, slots=True)
class Source:
    """A result file; `name` tells it from the report's others."""

    name: str
    header: results.Header


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """A record and where it stands."""

    source: Source
    line: int
    data: T


@dataclass(frozen=True, slots=True)
class Unknown:
    """A record of a sort that this report cannot show."""

    source: Source
    line: int
    sort: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Document:
    """All records of all files, in their order."""

    sources: tuple[Source, ...]
    entries: tuple[Entry[Any], ...]
    unknown: tuple[Unknown, ...]

    def of(self, sort: type[T]) -> list[Entry[T]]:
        """The records of a sort."""
        return [entry for entry in self.entries if type(entry.data) is sort]

    @property
    def searches(self) -> list[Entry[Found]]:
        """Searches of deployments; those that compare policies are shown apart."""
        return [entry for entry in self.of(Found) if not entry.data.policy]

    def name(self, entry: Entry[Any], label: str) -> str:
        """A label, with the file that it is from where there are several."""
        return label if len(self.sources) == 1 else f"{label} ({entry.source.name})"


def read(paths: Sequence[Path]) -> Document:
    """Read result files.

    Raises
    ------
    DataError: names file and line: not a result file, of a kind that has no report, or a record
        with a missing or wrong field. Also when there are no files.
    """
    if not paths:
        raise DataError("expected at least one result file, got none")
    sources: list[Source] = []
    entries: list[Entry[Any]] = []
    unknown: list[Unknown] = []
    for path, name in zip(paths, _names(paths), strict=True):
        file = results.read(path)
        if file.header.kind not in KINDS:
            raise DataError(
                f"{path}:1: expected kind {' | '.join(KINDS)}, got {file.header.kind!r}"
            )
        source = Source(name, file.header)
        sources.append(source)
        for line, record in enumerate(file.records, start=2):
            sort = record.get("record")
            if isinstance(sort, str) and sort in SORTS:
                entries.append(Entry(source, line, _record(SORTS[sort], record, f"{path}:{line}")))
            else:
                unknown.append(Unknown(source, line, "" if sort is None else str(sort), record))
    return Document(tuple(sources), tuple(entries), tuple(unknown))


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, or whole paths where two files have one name."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _record(sort: type[Record], record: dict[str, Any], where: str) -> Record:
    try:
        return sort.model_validate(record)
    except ValidationError as error:
        what, place = first_fault(error)
        raise DataError(f"{where}: {what} - at `{place or record['record']}`") from error
