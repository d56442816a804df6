"""A measured batch beside its floor, as the record that `recstack.report` draws a roofline from."""

from __future__ import annotations

from typing import Any

from recstack.errors import ConfigError
from recstack.machine.peaks import Level, Peaks
from recstack.profile.floor import Floor

LEVELS: tuple[Level, ...] = ("L2", "L3", "DRAM")


def roofline_record(floor: Floor, peaks: Peaks, measured_us: float | None = None) -> dict[str, Any]:
    """One record of sort `roofline` for a result file of kind `bench`.

    Parameters
    ----------
    floor: of the batch.
    peaks: what the floor was made from; they become the roofs.
    measured_us: median microseconds of the same batch; None where nothing was timed.

    `origin` is measured where there is a time (the floor beside it is modelled). FLOP per byte of
    weights and rows is a roofline's x axis (Williams, Waterman and Patterson 2009).

    Raises
    ------
    ConfigError: the batch computes or reads nothing, so it has no place on a roofline.
    """
    read_bytes = floor.weight_bytes + floor.gather_bytes
    if not floor.flops or not read_bytes:
        raise ConfigError(
            f"expected a batch that computes and reads, got {floor.flops} FLOP on {read_bytes} "
            f"bytes - at `{floor.model}`, {floor.rows} rows"
        )
    return {
        "origin": "modelled" if measured_us is None else "measured",
        "record": "roofline",
        "model": floor.model,
        "rows": floor.rows,
        "queries": floor.queries,
        "threads": floor.threads,
        "isa": floor.isa or "",
        "flops": floor.flops,
        "weight_bytes": floor.weight_bytes,
        "gather_bytes": floor.gather_bytes,
        "bytes": read_bytes,
        "measured_us": measured_us,
        "floor_us": floor.ns / 1e3,
        "serial_us": floor.serial_ns / 1e3,
        "bound": floor.bound,
        "peak_gflop_s": peaks.ops_per_s(floor.threads, isa=floor.isa) / 1e9,
        "roofs": _roofs(floor, peaks),
    }


def _roofs(floor: Floor, peaks: Peaks) -> list[dict[str, Any]]:
    """The best stream of each level, and the rows of this model's tables as they arrive."""
    roofs: list[dict[str, Any]] = []
    for level in LEVELS:
        found = [
            figure.gb_s
            for figure in peaks.read
            if figure.level == level and figure.threads == floor.threads
        ]
        if found:
            roofs.append({"name": level, "gb_s": max(found)})
    if floor.gather_ns:
        roofs.append({"name": "gather", "gb_s": floor.gather_bytes / floor.gather_ns})
    return roofs
