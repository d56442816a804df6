"""Measures this machine's peaks: which figures, in what memory, for how long each."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import cast

from recstack import _native
from recstack.errors import ConfigError
from recstack.machine.arena import HUGE_PAGE, Arena, make_arena
from recstack.machine.effort import FULL, Effort
from recstack.machine.lookups import Place, best_prefetches, measure_lookups
from recstack.machine.peaks import ComputePeak, Dtype, Level, Peaks, ReadPeak
from recstack.machine.topology import Caches, cores_apart, read_caches
from recstack.memory import available_bytes
from recstack.results import fingerprint

Progress = Callable[[str], None]
COMPUTE_SHARE, READ_SHARE, LOOKUP_SHARE = 0.08, 0.27, 0.65
MEMORY_SHARE = 0.25  # of the free memory, at most
READ_STEP = 1024  # bytes; the native loop reads no less


def measure_peaks(
    threads: int | None = None, progress: Progress | None = None, effort: Effort = FULL
) -> Peaks:
    """Measure this machine, in under a minute.

    Parameters
    ----------
    threads: the most threads measured, one on each allowed core; all when None. 1, 2, 4, ... and
        `threads` itself are measured.
    progress: called with what is measured next.
    effort: how much is measured.

    Raises
    ------
    ConfigError: more threads than cores are allowed.
    MemoryError: not even the smallest table can be had.
    """
    allowed = frozenset(os.sched_getaffinity(0))
    most = len(allowed) if threads is None else threads
    if not 1 <= most <= len(allowed):
        raise ConfigError(f"expected threads between 1 and {len(allowed)}, got {most}")
    cores = tuple(cores_apart(allowed)[:most])
    caches = read_caches(cores[0], allowed)
    counts = thread_counts(most)
    say = progress or (lambda _: None)

    say("memory")
    arena = make_arena(_arena_bytes(effort, caches, most), most, effort.seconds / 4)
    isas = [name for name, has in _native.instruction_sets() if has]
    place = Place(isas[-1], arena, cores, counts)
    say("multiply-adds")
    compute = tuple(_compute(place, effort.seconds * COMPUTE_SHARE))
    say("sequential reads")
    read = tuple(_reads(place, isas[1:] or isas, caches, effort.seconds * READ_SHARE))
    cells = list(measure_lookups(place, effort, effort.seconds * LOOKUP_SHARE, say))
    return Peaks(
        machine=fingerprint(), created=datetime.now(UTC).isoformat(timespec="seconds"),
        l1_bytes=caches.l1_bytes, l2_bytes=caches.l2_bytes, l3_bytes=caches.l3_bytes,
        l3_cores=caches.l3_cores, compute=compute, read=read,
        gather=tuple(cell.peak(arena.huge_pages) for cell in cells),
        prefetches=tuple(best_prefetches(cells, caches.l3_bytes)),
    )  # fmt: skip


def thread_counts(most: int) -> tuple[int, ...]:
    """Powers of two below `most`, then `most`.

    >>> thread_counts(6)
    (1, 2, 4, 6)
    """
    return (*(1 << i for i in range(most.bit_length()) if 1 << i < most), most)


def footprints(caches: Caches, threads: int) -> list[tuple[Level, int]]:
    """Bytes that each of `threads` threads reads, per level: well inside a cache, or far past it.

    >>> caches = Caches(32 << 10, 1 << 20, 32 << 20, l3_cores=2)
    >>> [(level, size >> 10) for level, size in footprints(caches, 2)]
    [('L1', 16), ('L2', 512), ('L3', 4096), ('L3', 10240), ('DRAM', 262144)]
    """
    share = caches.l3_bytes // min(threads, caches.l3_cores)
    # An L3 that is little more than the L2's size cannot be told from it.
    l3 = [size for size in (share // 4, share * 5 // 8) if size > caches.l2_bytes * 3 // 2]
    # Caches that keep some of a stream that is too long make its fastest rounds look too fast.
    far = max(64 << 20, 16 * share)
    sizes: list[tuple[Level, int]] = [
        ("L1", caches.l1_bytes // 2), ("L2", caches.l2_bytes // 2), *(("L3", s) for s in l3),
        ("DRAM", far),
    ]  # fmt: skip
    return [(level, size // READ_STEP * READ_STEP) for level, size in sizes]


def smallest(level: Level, wanted_bytes: int) -> int:
    """The least of a footprint of `footprints` that still is of its level, memory being short."""
    return wanted_bytes // 8 if level == "DRAM" else wanted_bytes


def layer_stack(footprint_bytes: int) -> tuple[int, int, int]:
    """(k, n, layers) of equal dense layers that fill `footprint_bytes` or a little less.

    512 x 512 where two fit, one layer of 512 x n below, square when it is small.

    >>> layer_stack(8 << 20), layer_stack(512 << 10), layer_stack(16 << 10)
    ((512, 512, 8), (512, 256, 1), (64, 64, 1))
    """
    floats = footprint_bytes // 4
    if floats >= 2 * 512 * 512:
        return 512, 512, floats // (512 * 512)
    if floats >= 512 * 128:
        return 512, floats // 512 // 32 * 32, 1
    side = max(math.isqrt(floats) // 32 * 32, 32)
    return side, side, 1


def _arena_bytes(effort: Effort, caches: Caches, threads: int) -> int:
    reads = threads * max(size for _, size in footprints(caches, threads))
    wanted = max(*effort.tables, footprints(caches, 1)[-1][1], reads)
    most = int(available_bytes() * MEMORY_SHARE)
    return max(min(wanted, most) // HUGE_PAGE, 1) * HUGE_PAGE


def _compute(place: Place, seconds: float) -> Iterator[ComputePeak]:
    peaks = _native.compute_peaks()
    budget_ns = int(1e9 * seconds / (len(peaks) * len(place.counts)))
    for dtype, isa in peaks:
        for threads in place.counts:
            ns = _native.peak_compute(dtype, isa, place.cores[:threads], budget_ns)
            yield ComputePeak(dtype=cast(Dtype, dtype), isa=isa, threads=threads, gops=1 / ns)


def _reads(place: Place, isas: list[str], caches: Caches, seconds: float) -> Iterator[ReadPeak]:
    """The fastest of `isas` for each: a peak is the machine's, not a kernel's."""
    figures = sum(len(footprints(caches, threads)) for threads in place.counts)
    budget_ns = int(1e9 * seconds / (2 * figures * len(isas)))
    for threads in place.counts:
        cores = place.cores[:threads]
        for level, wanted in footprints(caches, threads):
            size = min(wanted, place.arena.nbytes // threads // READ_STEP * READ_STEP)
            if size < smallest(level, wanted):
                continue
            ns = min(_stream(isa, place.arena, size, cores, budget_ns) for isa in isas)
            yield ReadPeak(
                kind="stream", level=level, threads=threads, footprint_bytes=size, gb_s=1 / ns
            )
            k, n, layers = layer_stack(size)
            ns = min(
                _native.peak_weights(isa, place.arena.data, k, n, layers, cores, budget_ns)
                for isa in isas
            )
            yield ReadPeak(
                kind="weights", level=level, threads=threads,
                footprint_bytes=4 * k * n * layers, gb_s=1 / ns,
            )  # fmt: skip


def _stream(isa: str, arena: Arena, size: int, cores: tuple[int, ...], budget_ns: int) -> float:
    return _native.peak_stream(isa, arena.data, size, cores, budget_ns)
