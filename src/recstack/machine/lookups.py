"""Measures random row gathers, and searches the prefetch that makes them fastest."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from recstack import _native
from recstack.machine.arena import Arena
from recstack.machine.effort import Effort
from recstack.machine.peaks import GatherPeak, Hint

Choice = tuple[Hint, int]
PLAIN: Choice = ("none", 0)
HINTS: tuple[Hint, ...] = ("T0", "T1", "NTA")
SEARCH_SHARE = 0.35  # of the time, for the whole search on the largest table


@dataclass(frozen=True, slots=True)
class Place:
    """Where lookups are measured: `isa`, and the `cores` of the most threads, first come first."""

    isa: str
    arena: Arena
    cores: tuple[int, ...]
    counts: tuple[int, ...]


def every_choice(distances: Sequence[int]) -> list[Choice]:
    """No prefetch, then every hint at every distance.

    >>> every_choice([8])
    [('none', 0), ('T0', 8), ('T1', 8), ('NTA', 8)]
    """
    return [PLAIN, *((hint, distance) for hint in HINTS for distance in distances)]


def neighbours(best: Choice, distances: Sequence[int]) -> list[Choice]:
    """No prefetch, `best`, the distances beside it, and the other hints at its distance.

    >>> neighbours(("T1", 16), [8, 16, 32])
    [('none', 0), ('T1', 8), ('T1', 16), ('T1', 32), ('T0', 16), ('NTA', 16)]
    """
    hint, distance = best
    if hint == "none":
        hint, distance = "T1", distances[len(distances) // 2]
    at = distances.index(distance)
    near = [(hint, d) for d in distances[max(at - 1, 0) : at + 2]]
    return [PLAIN, *near, *((other, distance) for other in HINTS if other != hint)]


def measure_lookups(
    place: Place, effort: Effort, seconds: float, say: Callable[[str], None]
) -> Iterator[GatherPeak]:
    """Every row size, table and thread count, the largest table first, of one thread.

    All choices of hint and distance are tried there; elsewhere the neighbours of the best. Where
    more threads come out slower than fewer, other work held one of them up, and they are measured
    again while there is time.
    """
    until = time.monotonic() + seconds * 1.1
    tables = tables_within(effort.tables, place.arena.nbytes)
    cells = len(effort.rows) * (len(tables) * len(place.counts) - 1)
    search_s = seconds * SEARCH_SHARE / len(effort.rows)
    cell_s = seconds * (1 - SEARCH_SHARE) / max(cells, 1)
    for row_bytes in effort.rows:
        found: Choice | None = None
        for table_bytes in reversed(tables):
            say(f"rows of {row_bytes} bytes from {table_bytes >> 10} KiB")
            fewer_ns = math.inf
            for threads in place.counts:
                if found is None:
                    choices, budget_s = every_choice(effort.distances), search_s
                else:
                    choices, budget_s = neighbours(found, effort.distances), cell_s
                peak = _one(place, row_bytes, table_bytes, threads, choices, budget_s)
                while peak.ns > fewer_ns and time.monotonic() < until:
                    again = _one(place, row_bytes, table_bytes, threads, choices, budget_s)
                    peak = min(peak, again, key=lambda p: p.ns)
                fewer_ns = peak.ns
                found = found or (peak.hint, peak.distance)
                yield peak


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


def _one(
    place: Place, row_bytes: int, table_bytes: int, threads: int, choices: list[Choice],
    budget_s: float,
) -> GatherPeak:  # fmt: skip
    ns = _native.peak_gather(
        place.isa, place.arena.data, table_bytes, row_bytes, choices,
        seed=table_bytes + row_bytes, cores=place.cores[:threads], budget_ns=int(1e9 * budget_s),
    )  # fmt: skip
    best = min(range(len(ns)), key=ns.__getitem__)
    hint, distance = choices[best]
    return GatherPeak(
        threads=threads, row_bytes=row_bytes, footprint_bytes=table_bytes,
        huge_pages=place.arena.huge_pages, hint=hint, distance=distance,
        ns=ns[best], plain_ns=ns[0],
    )  # fmt: skip
