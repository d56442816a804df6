"""How much of a machine is measured, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effort:
    """One measurement of all peaks.

    seconds: of measuring, about, beside up to a quarter more for finding memory.
    tables: bytes of the tables looked up in; the largest is cut to what memory there is.
    rows: bytes of their rows, each a multiple of 64 up to 256, or of 256.
    split: into how many tables, looked up one after another, those of split_bytes and more are
        divided beside being one.
    """

    seconds: float
    tables: tuple[int, ...]
    rows: tuple[int, ...]
    split: tuple[int, ...]
    split_bytes: int


FULL = Effort(
    seconds=38.0,
    tables=(512 << 10, 8 << 20, 64 << 20, 1 << 30, 4 << 30, 8 << 30),
    rows=(64, 128, 256, 512),
    split=(8, 32),
    split_bytes=2 << 30,
)
# For tests: every part, hardly measured.
QUICK = Effort(
    seconds=0.6, tables=(512 << 10, 32 << 20), rows=(64, 256), split=(4,), split_bytes=32 << 20
)
