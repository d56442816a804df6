"""`recstack doctor --peaks`: measures a machine's peaks, and shows those that are stored."""

from __future__ import annotations

from typing import Any

from recstack.cli.output import console, progress, table
from recstack.errors import DataError
from recstack.machine import Peaks, find_peaks, make_home, measure_peaks, peaks_path, save_peaks

_UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def measure_and_store(threads: int | None) -> None:
    """Measure this machine with a line of progress, and keep the result.

    Raises ResultWriteError, before anything is measured where that can be known.
    """
    make_home()
    with progress.status("measuring peaks ...") as status:
        made = measure_peaks(threads, lambda what: status.update(f"measuring peaks: {what} ..."))
    progress.print(f"stored in {save_peaks(made)}", style="dim", soft_wrap=True)


def stored() -> tuple[Peaks | None, str]:
    """This machine's stored peaks and "", or None and why there are none."""
    try:
        return find_peaks(), ""
    except DataError as error:
        return None, f"{error}; `recstack doctor --peaks` measures them"


def as_data(peaks: Peaks | None, problem: str) -> dict[str, Any]:
    """What `--json` prints of the peaks."""
    try:
        path = str(peaks_path())
    except DataError:  # a user without a home
        path = None
    return {
        "path": path,
        "problem": problem,
        "origin": "measured",
        "stored": None if peaks is None else peaks.model_dump(exclude={"machine"}),
    }


def print_peaks(peaks: Peaks) -> None:
    """Three tables: multiply-adds, reading, lookups."""
    counts = sorted({p.threads for p in (*peaks.compute, *peaks.read)})
    heads = tuple(f"{n} thread{'s' if n > 1 else ''}" for n in counts)
    console.print(table("Multiply-adds, 1e9 operations/s (measured)", ("dtype, set", *heads),
                        _compute_rows(peaks, counts)))  # fmt: skip
    console.print()
    console.print(table("Reading, GB/s of all threads (measured)",
                        ("what", "level", "each thread reads", "threads", "GB/s"),
                        _read_rows(peaks)))  # fmt: skip
    console.print()
    console.print(table("Sum-pooling random rows, of all threads (measured)",
                        ("row", "tables", "threads", "ns plain", "ns best", "GB/s", "prefetch"),
                        _lookup_rows(peaks)))  # fmt: skip


def _compute_rows(peaks: Peaks, counts: list[int]) -> list[tuple[str, ...]]:
    kinds = dict.fromkeys((p.dtype, p.isa) for p in peaks.compute)
    return [
        (f"{dtype} {isa}", *(f"{peaks.ops_per_s(n, dtype, isa) / 1e9:.0f}" for n in counts))
        for dtype, isa in kinds
    ]


def _read_rows(peaks: Peaks) -> list[tuple[str, ...]]:
    order = sorted(peaks.read, key=lambda p: (p.kind, p.threads, p.footprint_bytes))
    return [
        (p.kind, p.level, _size(p.footprint_bytes), str(p.threads), f"{p.gb_s:.1f}") for p in order
    ]


def _lookup_rows(peaks: Peaks) -> list[tuple[str, ...]]:
    order = sorted(
        peaks.gather, key=lambda p: (p.row_bytes, p.footprint_bytes, p.tables, p.threads)
    )
    return [
        (
            f"{p.row_bytes} B",
            f"{p.tables} of {_size(p.footprint_bytes // p.tables)}",
            str(p.threads),
            f"{p.plain_ns:.2f}",
            f"{p.ns:.2f}",
            f"{p.row_bytes / p.ns:.1f}",
            p.hint if p.hint == "none" else f"{p.hint} at {p.distance}, {p.burst} at once",
        )
        for p in order
    ]


def _size(nbytes: int) -> str:
    unit, name = next((u, n) for u, n in (*_UNITS, (1, "B")) if nbytes >= u)
    return f"{nbytes / unit:.3g} {name}"
