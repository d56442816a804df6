"""Where a machine's peaks are kept: one file per machine, beside the user's other caches.

    $RECSTACK_HOME/peaks-<hash>.json        ~/.cache/recstack without RECSTACK_HOME

The hash is of what makes a machine another one: CPU, cores, features, memory. A new kernel, Python
or recstack does not.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from pydantic import ValidationError

from recstack.errors import DataError, first_fault
from recstack.machine.peaks import Peaks
from recstack.results import Machine, ResultWriteError, fingerprint, replace_file

MOST_BYTES = 16 << 20  # of a file; hundreds of threads' figures take less


def home() -> Path:
    """The folder of recstack's own files: `$RECSTACK_HOME`, or `~/.cache/recstack`.

    Raises
    ------
    DataError: RECSTACK_HOME is not set and the user has no home.
    """
    given = os.environ.get("RECSTACK_HOME")
    if given:
        return Path(given)
    try:
        return Path.home() / ".cache" / "recstack"
    except RuntimeError as error:
        raise DataError(f"expected a home folder or RECSTACK_HOME, got neither: {error}") from error


def peaks_path(machine: Machine | None = None) -> Path:
    """The file of `machine`'s peaks; of this machine's when None. It need not exist."""
    return home() / f"peaks-{_hash(fingerprint() if machine is None else machine)}.json"


def make_home() -> Path:
    """The folder of recstack's own files, made if absent.

    Raises
    ------
    ResultWriteError: it cannot be made, or nothing can be written there.
    """
    folder = home()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        raise ResultWriteError(f"{folder}: cannot write: {error.strerror or error}") from error
    return folder


def save_peaks(peaks: Peaks) -> Path:
    """Store `peaks` as those of their machine, whole or not at all; returns the file.

    Raises
    ------
    ResultWriteError: the folder cannot be made or written; earlier peaks stay.
    """
    make_home()
    path = peaks_path(peaks.machine)
    replace_file(path, peaks.model_dump_json(indent=1) + "\n")
    return path


def find_peaks() -> Peaks:
    """This machine's stored peaks.

    Raises
    ------
    DataError: none are stored, or the file cannot be read, is damaged, of another version of its
        format, or another machine's.
    """
    machine = fingerprint()
    path = peaks_path(machine)
    try:
        peaks = Peaks.model_validate_json(_text(path))
    except FileNotFoundError:
        raise DataError(f"{path}: no peaks are stored for this machine") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read: {error}") from error
    except ValidationError as error:
        what, place = first_fault(error)
        raise DataError(f"{path}: {what} - at `{place or 'file'}`") from error
    if _hash(peaks.machine) != _hash(machine):
        raise DataError(f"{path}: expected the peaks of {machine.cpu}, got {peaks.machine.cpu}'s")
    return peaks


def load_peaks() -> Peaks | None:
    """This machine's stored peaks; None where `find_peaks` would say why there are none."""
    try:
        return find_peaks()
    except DataError:
        return None


def _text(path: Path) -> str:
    size = path.stat().st_size
    if not path.is_file() or size > MOST_BYTES:  # a pipe would be waited for
        raise OSError(f"expected a regular file of at most {MOST_BYTES} bytes, got {size}")
    return path.read_text(encoding="utf-8")


def _hash(machine: Machine) -> str:
    # Whole GiB: kernels keep a few MB more or less for themselves.
    memory_gib = round(machine.memory_bytes / 2**30)
    stable = (machine.cpu, machine.cores, machine.cores_allowed, machine.flags, memory_gib)
    return hashlib.sha256(json.dumps(stable).encode()).hexdigest()[:16]
