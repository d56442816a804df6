"""Where a machine's peaks are kept: one file per machine, beside the user's other caches.

    $RECSTACK_HOME/peaks-<hash>.json        ~/.cache/recstack without RECSTACK_HOME

The hash is of what makes a machine another one: CPU, cores, features, memory. A new kernel, Python
or recstack does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from pydantic import ValidationError

from recstack.errors import DataError
from recstack.machine.peaks import Peaks
from recstack.results import Machine, ResultWriteError, fingerprint, replace_file


def home() -> Path:
    """The folder of recstack's own files: `$RECSTACK_HOME`, or `~/.cache/recstack`."""
    given = os.environ.get("RECSTACK_HOME")
    return Path(given) if given else Path.home() / ".cache" / "recstack"


def peaks_path(machine: Machine | None = None) -> Path:
    """The file of `machine`'s peaks; of this machine's when None. It need not exist."""
    return home() / f"peaks-{_hash(fingerprint() if machine is None else machine)}.json"


def save_peaks(peaks: Peaks) -> Path:
    """Store `peaks` as those of their machine, whole or not at all; returns the file.

    Raises
    ------
    ResultWriteError: the folder cannot be made or written; earlier peaks stay.
    """
    path = peaks_path(peaks.machine)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResultWriteError(f"{path.parent}: cannot make: {error.strerror or error}") from error
    replace_file(path, peaks.model_dump_json(indent=1) + "\n")
    return path


def read_peaks(path: Path) -> Peaks:
    """The peaks in a file.

    Raises
    ------
    DataError: the file is not there, cannot be read, is damaged, or of another version.
    """
    try:
        return Peaks.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "file"
        raise DataError(f"{path}: {first['msg']} - at `{place}`") from error


def load_peaks() -> Peaks | None:
    """This machine's stored peaks; None where none are, or none that can be used.

    `recstack doctor` says why a file cannot be used, and `--peaks` replaces it.
    """
    machine = fingerprint()
    try:
        peaks = read_peaks(peaks_path(machine))
    except DataError:
        return None
    return peaks if _hash(peaks.machine) == _hash(machine) else None


def _hash(machine: Machine) -> str:
    # Whole GiB: kernels keep a few MB more or less for themselves.
    memory_gib = round(machine.memory_bytes / 2**30)
    stable = (machine.cpu, machine.cores, machine.cores_allowed, machine.flags, memory_gib)
    return hashlib.sha256(json.dumps(stable).encode()).hexdigest()[:16]
