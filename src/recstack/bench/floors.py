"""The floor of a cell, where the machine's peaks have been measured."""

from __future__ import annotations

from recstack.model import Model


def floor_us(model: Model, rows: int, threads: int, isa: str) -> float | None:
    """Modelled microseconds that no engine can beat; None without stored peaks.

    A hook: `recstack.profile.floor` and the store of `recstack.machine` plug in here.
    """
    return None
