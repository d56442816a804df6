"""What a machine can do at best: the peaks that floors are computed from. All are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from recstack.errors import ConfigError
from recstack.machine.curve import log_log
from recstack.results import Machine

Dtype = Literal["fp32", "bf16", "int8"]
Level = Literal["L1", "L2", "L3", "DRAM"]
Hint = Literal["none", "T0", "T1", "NTA"]
# Hint, lookups ahead, and rows asked for at once (1: with each that is added); 0, 0 without any.
Prefetch = tuple[Hint, int, int]
# Lookups in one table that follow each other: up to the first the next table's translations are as
# far as this one's; from the second on, all but the run's own are forgotten.
SHORT_RUN, LONG_RUN = 1024, 32_000
LEVELS: tuple[Level, ...] = ("L1", "L2", "L3", "DRAM")
# A file's numbers stay where arithmetic on them stays finite.
Size = Annotated[int, Field(ge=1, le=1 << 60)]
Distance = Annotated[int, Field(ge=0, le=128)]
Rate = Annotated[float, Field(ge=1e-12, le=1e12)]


class _Figure(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    threads: int = Field(ge=1, le=1 << 20)


_F = TypeVar("_F", bound=_Figure)


class ComputePeak(_Figure):
    """Multiply-adds from registers: `gops` 1e9 operations/s of all threads, a multiply-add as 2."""

    dtype: Dtype
    isa: str
    gops: Rate


class ReadPeak(_Figure):
    """Reading `footprint_bytes` per thread again and again, in 1e9 bytes/s of all threads.

    kind: "stream" for plain sequential loads, "weights" for a dense layer's packed weights as the
        one-row kernel reads them.
    level: the smallest level of the hierarchy that holds the footprint.
    """

    kind: Literal["stream", "weights"]
    level: Level
    footprint_bytes: Size
    gb_s: Rate


class GatherPeak(_Figure):
    """Sum-pooling random rows of a table: nanoseconds per lookup of all threads together.

    footprint_bytes: size of the table. huge_pages: whether huge pages backed it.
    tables: it is that many tables, looked up one after another, LONG_RUN lookups each; 1: rows
        anywhere in it follow each other.
    hint, distance, burst: the best prefetch found (`Prefetch`); plain_ns: without any.
    """

    row_bytes: Size
    footprint_bytes: Size
    tables: int = Field(ge=1, le=1 << 20)
    huge_pages: bool
    hint: Hint
    distance: Distance
    burst: Distance
    ns: Rate
    plain_ns: Rate


class BestPrefetch(BaseModel):
    """The prefetch for rows of `row_bytes` from tables past the caches: least time over all such
    figures, by their geometric mean.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    row_bytes: Size
    hint: Hint
    distance: Distance
    burst: Distance


class Peaks(BaseModel):
    """The peaks of one machine, with its fingerprint.

    l1_bytes, l2_bytes: data cache of one core; l3_bytes: of the whole machine's largest share that
        one thread can use, 0 where there is none; l3_cores: how many of the allowed cores share it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    # 1, 2: lookups with fewer prefetches and one order, slower than the engine's
    format: Literal[3] = 3
    machine: Machine
    created: str
    l1_bytes: Size
    l2_bytes: Size
    l3_bytes: int = Field(ge=0, le=1 << 60)
    l3_cores: int = Field(default=1, ge=1)
    compute: tuple[ComputePeak, ...]
    read: tuple[ReadPeak, ...]
    gather: tuple[GatherPeak, ...]
    prefetches: tuple[BestPrefetch, ...]

    def level(self, footprint_bytes: float, threads: int = 1) -> Level:
        """The smallest level that holds `footprint_bytes` of each of `threads` threads.

        L1 and L2 are a core's own; an L3 is shared by up to `l3_cores` threads.
        """
        if footprint_bytes <= self.l1_bytes:
            return "L1"
        if footprint_bytes <= self.l2_bytes:
            return "L2"
        return "L3" if footprint_bytes * min(threads, self.l3_cores) <= self.l3_bytes else "DRAM"

    def ops_per_s(self, threads: int, dtype: Dtype = "fp32", isa: str | None = None) -> float:
        """Operations per second of `threads` threads; the fastest instruction set when None.

        Between measured thread counts on a straight line of logarithms (`curve`), past the most
        measured as many as that.

        Raises
        ------
        ConfigError: this machine has no peak of `dtype` (on `isa`).
        """
        asked = [p for p in self.compute if p.dtype == dtype and isa in (None, p.isa)]
        if not asked:
            known = ", ".join(sorted({f"{p.dtype} on {p.isa}" for p in self.compute})) or "none"
            raise ConfigError(
                f"expected a measured peak ({known}), got {dtype} on {isa or 'any instruction set'}"
            )
        return max(
            log_log(((p.threads, 1e9 * p.gops) for p in asked if p.isa == name), threads)
            for name in {p.isa for p in asked}
        )

    def read_bytes_per_s(
        self, footprint_bytes: int, threads: int, kind: Literal["stream", "weights"] = "stream"
    ) -> float:
        """Bytes per second of all threads, each reading `footprint_bytes` again and again.

        The figures of the level that holds the footprint count (`level`), those of another level
        never mix in; where a level has several, on the curve between their footprints. A level
        without a figure has that of the next one out.

        Raises
        ------
        ConfigError: no reading of `kind` was measured.
        """
        level = self.level(footprint_bytes, threads)

        def rate(measured: list[ReadPeak]) -> float:
            order = LEVELS[LEVELS.index(level) :] + LEVELS[: LEVELS.index(level)][::-1]
            found = next(at for at in order if any(p.level == at for p in measured))
            points = ((p.footprint_bytes, 1e9 * p.gb_s) for p in measured if p.level == found)
            return log_log(points, footprint_bytes)

        return _by_threads((p for p in self.read if p.kind == kind), rate, threads, f"{kind} reads")

    def lookup_s(
        self, row_bytes: int, footprint_bytes: int, threads: int, tables: float = 1.0, run: int = 1
    ) -> float:
        """Seconds per lookup, of all threads together, from tables of `footprint_bytes`.

        On the curves between the measured footprints and row sizes. Rows below the smallest cost as
        much as it (a lookup moves whole lines); above the largest, in proportion to their bytes.

        tables: how many tables of the size looked up in have footprint_bytes. run: lookups in one
            of them that can follow each other; long ones reach fewer pages at a time.

        Raises
        ------
        ConfigError: no lookups were measured.
        """

        def seconds(measured: list[GatherPeak]) -> float:
            anywhere = curve([p for p in measured if p.tables == 1])
            counts = {p.tables for p in measured} - {1}
            # A long run need not be looked up as one.
            split = [(n, min(curve([p for p in measured if p.tables == n]), anywhere))
                     for n in counts]  # fmt: skip
            in_runs = log_log([(1, anywhere), *split], max(tables, 1.0))
            return log_log([(SHORT_RUN, anywhere), (LONG_RUN, in_runs)], run)

        def curve(measured: list[GatherPeak]) -> float:
            sizes = sorted({p.row_bytes for p in measured})
            by_size = [
                (size, log_log(((p.footprint_bytes, 1e-9 * p.ns) for p in measured
                                if p.row_bytes == size), footprint_bytes))
                for size in sizes
            ]  # fmt: skip
            return log_log(by_size, row_bytes) * max(row_bytes / sizes[-1], 1.0)

        return _by_threads(self.gather, seconds, threads, "lookups")

    def prefetch(self, row_bytes: int) -> Prefetch:
        """The prefetch for long bags of rows of `row_bytes` from memory: the nearest in proportion.

        Raises
        ------
        ConfigError: no lookups were measured.
        """
        if not self.prefetches:
            raise ConfigError("expected measured lookups, got none")
        best = min(self.prefetches, key=lambda p: abs(math.log(p.row_bytes / max(row_bytes, 1))))
        return best.hint, best.distance, best.burst


def usual_prefetch(row_bytes: int) -> Prefetch:
    """For long bags of rows from memory, as was best where the kernel was written.

    Source: labs/embag/NOTES.md.

    >>> usual_prefetch(64), usual_prefetch(512)
    (('T1', 32, 1), ('T1', 16, 128))
    """
    return ("T1", 32, 1) if row_bytes <= 128 else ("T1", 16, 128)


def _by_threads(
    figures: Iterable[_F], value: Callable[[list[_F]], float], threads: int, what: str
) -> float:
    """`value` of the figures of each thread count, on the curve between the counts."""
    groups: dict[int, list[_F]] = {}
    for figure in figures:
        groups.setdefault(figure.threads, []).append(figure)
    if not groups:
        raise ConfigError(f"expected measured {what}, got none")
    return log_log(((count, value(group)) for count, group in groups.items()), threads)
