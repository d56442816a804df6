"""The floor of a cell, where the machine's peaks have been measured."""

from __future__ import annotations

from recstack.errors import ConfigError
from recstack.machine import load_peaks
from recstack.model import Model
from recstack.profile.floor import floor


def floor_us(model: Model, rows: int, threads: int, isa: str) -> float | None:
    """Modelled microseconds that no engine can beat; None without stored peaks that say so much.

    isa: "auto" for the fastest that was measured.
    """
    peaks = load_peaks()
    if peaks is None:
        return None
    try:
        return floor(model, rows, threads, peaks, isa=None if isa == "auto" else isa).ns / 1e3
    except ConfigError:
        return None
