"""Measures random row gathers, and searches the prefetch that makes them fastest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from recstack import _native
from recstack.machine.arena import Arena
from recstack.machine.effort import Effort
from recstack.machine.peaks import (
    LONG_RUN,
    BestPrefetch,
    GatherPeak,
    Hint,
    Prefetch,
    usual_prefetch,
)

PLAIN: Prefetch = ("none", 0, 0)
HINTS: tuple[Hint, ...] = ("T0", "T1", "NTA")
# Lookups ahead, and rows asked for at once: with each row that is added, and in bursts.
SHAPES = ((16, 1), (32, 1), (64, 1), (32, 16), (32, 64), (16, 128))
ROUND = 8000  # lookups of a thread where rows anywhere follow each other
CLEARLY = 1.1  # times as fast as the usual one a choice must be: shared machines drift by less
SEARCH_SHARE = 0.2  # of the time, for all hints on the largest tables


@dataclass(frozen=True, slots=True)
class Place:
    """Where lookups are measured: `isa`, and the `cores` of the most threads, first come first."""

    isa: str
    arena: Arena
    cores: tuple[int, ...]
    counts: tuple[int, ...]


def choices_of(hints: Sequence[Hint]) -> list[Prefetch]:
    """No prefetch, then every hint in every shape.

    >>> choices_of(["T1"])[:3]
    [('none', 0, 0), ('T1', 16, 1), ('T1', 32, 1)]
    """
    return [PLAIN, *((hint, *shape) for hint in hints for shape in SHAPES)]


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure's place: rows of one size, tables, threads; and what each choice took there."""

    row_bytes: int
    footprint_bytes: int
    tables: int
    threads: int
    ns: dict[Prefetch, float]

    def peak(self, huge_pages: bool) -> GatherPeak:
        """The figure: the best of the choices."""
        hint, distance, burst = best = min(self.ns, key=self.ns.__getitem__)
        return GatherPeak(
            threads=self.threads, row_bytes=self.row_bytes, footprint_bytes=self.footprint_bytes,
            tables=self.tables, huge_pages=huge_pages, hint=hint, distance=distance, burst=burst,
            ns=self.ns[best], plain_ns=self.ns[PLAIN],
        )  # fmt: skip


def measure_lookups(
    place: Place, effort: Effort, seconds: float, say: Callable[[str], None]
) -> Iterator[Cell]:
    """Every row size, table, way to split it and thread count; the largest table first.

    All hints are tried there with one thread, elsewhere T1 and the best one. Where more threads
    come out slower than fewer, other work held one of them up, and they are measured again while
    there is time.
    """
    until = time.monotonic() + seconds * 1.1
    tables = tables_within(effort.tables, place.arena.nbytes)
    layouts = [
        (size, count)
        for size in reversed(tables)
        for count in (1, *(effort.split if size >= effort.split_bytes else ()))
    ]
    cells = len(effort.rows) * (len(layouts) * len(place.counts) - 1)
    search_s = seconds * SEARCH_SHARE / len(effort.rows)
    cell_s = seconds * (1 - SEARCH_SHARE) / max(cells, 1)
    for row_bytes in effort.rows:
        hints: Sequence[Hint] = HINTS
        budget_s = search_s
        for size, count in layouts:
            if count == 1:
                say(f"rows of {row_bytes} bytes from {size >> 10} KiB")
            fewer_ns = math.inf
            for threads in place.counts:
                cell = _one(place, Cell(row_bytes, size, count, threads, {}), hints, budget_s)
                while min(cell.ns.values()) > fewer_ns and time.monotonic() < until:
                    again = _one(place, cell, hints, budget_s)
                    cell = min(cell, again, key=lambda c: min(c.ns.values()))
                fewer_ns = min(cell.ns.values())
                if hints is HINTS:
                    best = min(cell.ns, key=cell.ns.__getitem__)[0]
                    hints, budget_s = ("T1",) if best in ("T1", "none") else ("T1", best), cell_s
                yield cell


def best_prefetches(cells: Iterable[Cell], far_bytes: int) -> list[BestPrefetch]:
    """Per row size what is best over all tables past `far_bytes`, or all where there are none.

    Of the choices that all of them tried, the one with the least geometric mean, if it is `CLEARLY`
    better than the usual one.
    """
    cells = list(cells)
    found = []
    for row_bytes in sorted({cell.row_bytes for cell in cells}):
        own = [cell for cell in cells if cell.row_bytes == row_bytes]
        far = [cell for cell in own if cell.footprint_bytes > far_bytes] or own
        common = set.intersection(*(set(cell.ns) for cell in far))
        mean = {c: math.exp(fmean(math.log(cell.ns[c]) for cell in far)) for c in sorted(common)}
        best, usual = min(mean, key=mean.__getitem__), usual_prefetch(row_bytes)
        if usual in mean and mean[usual] < CLEARLY * mean[best]:
            best = usual
        hint, distance, burst = best
        found.append(BestPrefetch(row_bytes=row_bytes, hint=hint, distance=distance, burst=burst))
    return found


def tables_within(tables: Sequence[int], nbytes: int) -> list[int]:
    """Tables that fit, smallest first; what is left of the first that does not, if well larger.

    >>> tables_within([1, 10, 100], 50)
    [1, 10, 50]
    >>> tables_within([1, 10, 100], 12)
    [1, 10]
    """
    fitting = sorted(t for t in tables if t <= nbytes)
    cut = len(fitting) < len(tables) and (not fitting or 4 * nbytes >= 5 * fitting[-1])
    return [*fitting, nbytes] if cut else fitting


def _one(place: Place, cell: Cell, hints: Sequence[Hint], budget_s: float) -> Cell:
    choices = choices_of(hints)
    size, run = cell.footprint_bytes, ROUND if cell.tables == 1 else LONG_RUN
    ns = _native.peak_gather(
        place.isa, place.arena.data, size, cell.row_bytes, cell.tables, run, choices,
        seed=size + cell.row_bytes, cores=place.cores[: cell.threads],
        budget_ns=int(1e9 * budget_s),
    )  # fmt: skip
    return replace(cell, ns=dict(zip(choices, ns, strict=True)))
