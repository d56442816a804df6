"""Peaks of a machine of round numbers."""

from __future__ import annotations

from recstack.machine import Peaks
from recstack.machine.peaks import BestPrefetch, ComputePeak, GatherPeak, ReadPeak
from recstack.results import Machine, fingerprint

KB, MB, GB = 1 << 10, 1 << 20, 1 << 30


def compute(dtype, isa: str, threads: int, gops: float) -> ComputePeak:
    return ComputePeak(dtype=dtype, isa=isa, threads=threads, gops=gops)


def read(level, footprint_bytes: int, threads: int, gb_s: float, kind="stream") -> ReadPeak:
    return ReadPeak(
        kind=kind, level=level, footprint_bytes=footprint_bytes, threads=threads, gb_s=gb_s
    )


def lookups(
    row_bytes: int, footprint_bytes: int, threads: int, ns: float, tables: int = 1
) -> GatherPeak:
    return GatherPeak(
        threads=threads, row_bytes=row_bytes, footprint_bytes=footprint_bytes, tables=tables,
        huge_pages=True, hint="T1", distance=16, burst=64, ns=ns, plain_ns=2 * ns,
    )  # fmt: skip


def peaks(machine: Machine | None = None, **changes) -> Peaks:
    """32 KB, 1 MB and 32 MB of cache, the last shared by 2 cores."""
    figures = {
        "compute": (
            compute("fp32", "scalar", 1, 50), compute("fp32", "avx2", 1, 100),
            compute("fp32", "avx2", 4, 400), compute("int8", "avx512_vnni", 1, 400),
        ),
        "read": (
            read("L1", 16 * KB, 1, 200), read("L2", 512 * KB, 1, 100), read("L3", 8 * MB, 1, 80),
            read("L3", 32 * MB, 1, 40), read("DRAM", 512 * MB, 1, 30),
            read("L2", 512 * KB, 2, 200), read("L3", 8 * MB, 2, 160), read("DRAM", 256 * MB, 2, 36),
            read("L2", 512 * KB, 1, 90, "weights"), read("DRAM", 512 * MB, 1, 27, "weights"),
        ),
        "gather": (
            lookups(64, 1 * MB, 1, 1.0), lookups(64, 4 * GB, 1, 8.0),
            lookups(256, 1 * MB, 1, 4.0), lookups(256, 4 * GB, 1, 32.0),
            lookups(64, 1 * MB, 4, 0.25), lookups(64, 4 * GB, 4, 2.0),
            lookups(256, 1 * MB, 4, 1.0), lookups(256, 4 * GB, 4, 8.0),
        ),
        "prefetches": (
            BestPrefetch(row_bytes=64, hint="T1", distance=32, burst=1),
            BestPrefetch(row_bytes=256, hint="NTA", distance=8, burst=64),
        ),
    }  # fmt: skip
    return Peaks(
        machine=fingerprint() if machine is None else machine, created="2026-11-21T10:00:00+00:00",
        l1_bytes=32 * KB, l2_bytes=1 * MB, l3_bytes=32 * MB, l3_cores=2, **(figures | changes),
    )  # fmt: skip
