"""The floor of a cell, where the machine's peaks have been measured."""

from __future__ import annotations

from typing import Any

from recstack.errors import ConfigError
from recstack.machine import load_peaks
from recstack.model import Model
from recstack.profile.floor import floor
from recstack.profile.roofline import roofline_record


def beside_floor(
    model: Model, rows: int, threads: int, isa: str, measured_us: float | None
) -> dict[str, Any]:
    """`floor_us` and `roofline` of a cell; empty without stored peaks that say so much.

    floor_us: modelled microseconds that no engine can beat. isa: "auto" for the fastest that was
    measured. measured_us: recstack's time.
    """
    peaks = load_peaks()
    if peaks is None:
        return {}
    try:
        least = floor(model, rows, threads, peaks, isa=None if isa == "auto" else isa)
        record = roofline_record(least, peaks, measured_us)
    except ConfigError:
        return {}
    return {"floor_us": least.ns / 1e3, "roofline": record}
