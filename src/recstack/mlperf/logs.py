"""LoadGen's log files, read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import DataError

PREFIX = ":::MLLOG "
LAST_KEY = "power_end"  # with or without a meter


def read_detail(folder: Path) -> dict[str, Any]:
    """What `mlperf_log_detail.txt` says, by key; `errors` lists the messages marked as errors.

    Raises
    ------
    DataError: there is no such file, or a line of it is malformed.
    """
    path = folder / "mlperf_log_detail.txt"
    found: dict[str, Any] = {}
    errors: list[str] = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.startswith(PREFIX):
            continue
        try:
            entry = json.loads(line.removeprefix(PREFIX))
            found[entry["key"]] = entry["value"]
            if entry["metadata"]["is_error"]:
                errors.append(str(entry["value"]))
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}: expected LoadGen's log: {error!r} - at line {number}"
            ) from None
    if LAST_KEY not in found:
        raise DataError(f"{path}: expected LoadGen's log to its end, got a part: is the disk full?")
    return found | {"errors": errors}


def read_accuracy(folder: Path) -> dict[int, NDArray[np.float32]]:
    """Per sample index (rows, 2) float32 pairs of score and label, from `mlperf_log_accuracy.json`.

    Raises
    ------
    DataError: the file is missing or malformed.
    """
    path = folder / "mlperf_log_accuracy.json"
    try:
        return {
            int(e["qsl_idx"]): np.frombuffer(bytes.fromhex(e["data"]), np.float32).reshape(-1, 2)
            for e in json.loads(_read(path))
        }
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{path}: expected LoadGen's accuracy log, got {error!r}") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error


def percentiles_ns(detail: Mapping[str, Any]) -> dict[float, int]:
    """LoadGen's percentiles of the latency of a query."""
    per_query = "_per_query" if "result_50.00_percentile_per_query_latency_ns" in detail else ""
    return {
        p: int(detail[f"result_{p:.2f}_percentile{per_query}_latency_ns"])
        for p in (50.0, 90.0, 95.0, 97.0, 99.0, 99.9)
    }
