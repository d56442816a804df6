"""What a load run leaves: raw arrays. Metrics are computed from them later (`metrics`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from recstack.errors import DataError
from recstack.types import Origin, Status

STATUSES: tuple[str, ...] = (*get_args(Status), "lost")
"""Status by code; "lost" is a query that was not answered before the run gave up."""
CODES: Mapping[str, int] = {status: code for code, status in enumerate(STATUSES)}
OK, ERROR, LOST = CODES["ok"], CODES["error"], CODES["lost"]

_ARRAYS = {
    "scheduled_ns": np.int64,
    "issued_ns": np.int64,
    "finished_ns": np.int64,
    "rows": np.int64,
    "status": np.uint8,
}


@dataclass(frozen=True, slots=True, eq=False)
class LoadResult:
    """One run of n queries; every time is in nanoseconds since the start of the run.

    scheduled_ns: (n,) int64, when each query was to arrive; latency counts from here.
    issued_ns: (n,) int64, when the generator issued it; the difference is its lateness.
    finished_ns: (n,) int64, when it ended; -1 where it never did.
    rows: (n,) int64.
    status: (n,) uint8, index into `STATUSES`.
    stages_ns: by stage name (n,) int64 durations, -1 where the query has none.
    warmup: leading queries that metrics leave out.
    strays: completions of unknown queries, or second ones of the same query.
    errors: the first few different error messages.
    origin: measured on a real clock, or simulated.
    """

    scheduled_ns: NDArray[np.int64]
    issued_ns: NDArray[np.int64]
    finished_ns: NDArray[np.int64]
    rows: NDArray[np.int64]
    status: NDArray[np.uint8]
    stages_ns: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    warmup: int = 0
    strays: int = 0
    errors: tuple[str, ...] = ()
    origin: Origin = "measured"

    @property
    def queries(self) -> int:
        """Queries issued, warm-up included."""
        return int(self.scheduled_ns.size)

    def to_record(self) -> dict[str, Any]:
        """The run as a record of a result file (`recstack.results`)."""
        return {
            "origin": self.origin,
            "statuses": STATUSES,
            "warmup": self.warmup,
            "strays": self.strays,
            "errors": self.errors,
            "stages_ns": dict(self.stages_ns),
            **{name: getattr(self, name) for name in _ARRAYS},
        }


def from_record(record: Mapping[str, Any]) -> LoadResult:
    """The run that a record of a result file holds; keys it does not know are left alone.

    Raises
    ------
    DataError: a field is missing or of the wrong length.
    """
    try:
        if tuple(record["statuses"]) != STATUSES:
            raise DataError(f"expected statuses {STATUSES}, got {record['statuses']}")
        arrays = {name: np.asarray(record[name], dtype) for name, dtype in _ARRAYS.items()}
        stages = {k: np.asarray(v, np.int64) for k, v in record["stages_ns"].items()}
        n = arrays["scheduled_ns"].size
        for name, array in (*arrays.items(), *stages.items()):
            if array.shape != (n,):
                raise DataError(f"expected ({n},), got {array.shape} - at `{name}`")
        return LoadResult(
            **arrays,
            stages_ns=stages,
            warmup=int(record["warmup"]),
            strays=int(record["strays"]),
            errors=tuple(record["errors"]),
            origin=record["origin"],
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"expected a load run, got one with a bad or missing field: {error}"
        ) from error
