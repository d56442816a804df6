"""Result files: JSON lines, a header first, then one record per line.

    {"kind": "load", "format": 1, "created": "...", "seed": 0, "git": "...", "machine": {...},
     "records": 2}
    {"origin": "measured", "p95_ns": 812000, ...}
    {"origin": "measured", "p95_ns": 799000, ...}

Raw samples are kept and metrics computed later. A file appears whole or not at all (written aside,
synced, renamed), and the header counts the records, so that a copy cut short is refused too.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from recstack.errors import DataError, first_fault
from recstack.files import write_whole
from recstack.types import Origin

FORMAT: Literal[1] = 1
FLAGS = (
    "avx2",
    "fma",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "avx_vnni",
    "amx_int8",
    "amx_bf16",
    "asimddp",
    "sve",
    "hypervisor",
)
Record = Mapping[str, Any]


class ResultWriteError(DataError):
    """A result file could not be written; the file of that name, if any, is the previous one."""


class Machine(BaseModel):
    """The machine that a number was made on.

    cores: logical cores of the machine; `cores_allowed` is how many of them this process may use.
    flags: the CPU's features that matter here; `hypervisor` says that it is a virtual machine.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    cpu: str
    cores: int
    cores_allowed: int
    flags: tuple[str, ...]
    memory_bytes: int
    kernel: str
    python: str
    recstack: str


class Header(BaseModel):
    """The first line: what the records are, and where they come from.

    kind: what was done, such as `load` or `bench`.
    created: UTC, ISO 8601.
    git: revision of the recstack that ran, `-dirty` when it had changes; "" when unknown.
    records: number of records that follow.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str = Field(min_length=1)
    format: Literal[1] = FORMAT
    created: str
    seed: int | None
    git: str
    machine: Machine
    records: int = Field(ge=0)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """A result file in memory; every record carries `origin`."""

    header: Header
    records: tuple[dict[str, Any], ...]


def write(
    path: str | os.PathLike[str],
    kind: str,
    records: Iterable[Record],
    *,
    seed: int | None,
    machine: Machine | None = None,
) -> Header:
    """Write a result file whole or not at all; an existing file is replaced.

    Parameters
    ----------
    path: the file; its folder must exist.
    kind: what was done.
    records: mappings of JSON values, NumPy scalars and arrays; each has `origin`, one of measured,
        simulated, modelled.
    seed: what the run was seeded with, or None.
    machine: where it ran; this machine when None.

    Raises
    ------
    DataError: a record has no origin, holds NaN or infinity, or is not JSON.
    ResultWriteError: the disk is full or the folder cannot be written; nothing half-written stays.

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "run.jsonl"
    >>> _ = write(path, "load", [{"origin": "measured", "p95_ns": np.int64(7)}], seed=0)
    >>> read(path).records
    ({'origin': 'measured', 'p95_ns': 7},)
    >>> folder.cleanup()
    """
    target = Path(path)
    lines = [_encode(record, f"{target}: record {i}") for i, record in enumerate(records)]
    header = Header(
        kind=kind,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        git=git_revision(),
        machine=fingerprint() if machine is None else machine,
        records=len(lines),
    )
    replace_file(target, "\n".join([header.model_dump_json(), *lines, ""]))
    return header


def read(path: str | os.PathLike[str], kind: str | None = None) -> ResultFile:
    """Read and validate a result file.

    Raises
    ------
    DataError: names the file and the line; also when the file is not there, is of another kind than
        `kind`, or is cut short.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            raise DataError(f"{target}: cannot read: expected a regular file")
        text = target.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{target}: cannot read: {error}") from error
    if not text.endswith("\n"):
        raise DataError(
            f"{target}:{text.count(chr(10)) + 1}: expected a whole line, got one cut short"
        )
    lines = text.split("\n")[:-1]
    header = _header(lines[0], f"{target}:1")
    if kind is not None and header.kind != kind:
        raise DataError(f"{target}:1: expected kind {kind!r}, got {header.kind!r}")
    if len(lines) - 1 != header.records:
        raise DataError(
            f"{target}:{len(lines)}: expected {header.records} records, got {len(lines) - 1}"
        )
    records = (_record(line, f"{target}:{i}") for i, line in enumerate(lines[1:], start=2))
    return ResultFile(header, tuple(records))


def _encode(record: Record, where: str) -> str:
    _check_origin(record, where)
    try:
        return json.dumps(record, default=_plain, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: expected finite JSON values: {error}") from error


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _check_origin(record: Record, where: str) -> None:
    if record.get("origin") not in get_args(Origin):
        raise DataError(
            f"{where}: expected origin {' | '.join(get_args(Origin))}, got {record.get('origin')!r}"
        )


def _header(line: str, where: str) -> Header:
    try:
        return Header.model_validate_json(line)
    except ValidationError as error:
        what, place = first_fault(error)
        raise DataError(f"{where}: {what} - at `{place or 'header'}`") from error


def _record(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{where}: expected an object, got {type(record).__name__}")
    _check_origin(record, where)
    return record


def replace_file(target: Path, text: str) -> None:
    """Write `text` to `target` whole or not at all: aside, synced, renamed.

    Raises
    ------
    ResultWriteError: the disk is full or the folder cannot be written; `target` is as it was.
    """
    try:
        write_whole(target, text)
    except OSError as error:
        raise ResultWriteError(f"{target}: cannot write: {error.strerror or error}") from error


def fingerprint() -> Machine:
    """This machine, as written into every result file.

    >>> fingerprint().cores >= 1
    True
    """
    cpuinfo = _cpuinfo()
    flags = set((cpuinfo.get("flags") or cpuinfo.get("Features") or "").split())
    return Machine(
        cpu=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        cores=os.cpu_count() or 1,
        cores_allowed=len(os.sched_getaffinity(0)),
        flags=tuple(flag for flag in FLAGS if flag in flags),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        kernel=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        recstack=_version(),
    )


def git_revision() -> str:
    """Revision of the checkout that this package runs from, or "" for an installed one."""
    here = Path(__file__)

    def git(*args: str) -> str:
        command = ("git", "-C", str(here.parent), *args)
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        # An installed copy may lie inside somebody else's repository.
        git("ls-files", "--error-unmatch", here.name)
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("-dirty" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpuinfo() -> dict[str, str]:
    """Keys and values of the first processor in /proc/cpuinfo; empty where there is none."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _version() -> str:
    try:
        return importlib.metadata.version("recstack")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
