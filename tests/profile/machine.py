"""A machine of round numbers, whose every lookup is a rule that a reader can do by hand."""

from __future__ import annotations

from typing import Literal

from recstack.errors import ConfigError
from recstack.machine.peaks import ComputePeak, Dtype, GatherPeak, Peaks, ReadPeak
from recstack.results import Machine

L1, L2, L3 = 4096, 65536, 1 << 20
READ_GB_S = {"L1": 160.0, "L2": 100.0, "L3": 50.0, "DRAM": 10.0}
# The one-row kernel reads a little slower than a stream, but for L2, where it is faster.
KERNEL = {"L1": 0.9, "L2": 1.25, "L3": 0.8, "DRAM": 0.9}
FOOTPRINTS = {"L1": L1 // 2, "L2": L2 // 2, "L3": L3 // 4, "DRAM": 8 * L3}


class RoundPeaks(Peaks):
    """100 GFLOP/s per thread, 50 with avx2; a lookup takes 1, 4 or 10 ns by its footprint, and in
    DRAM 1 ns more per line.
    """

    def ops_per_s(self, threads: int, dtype: Dtype = "fp32", isa: str | None = None) -> float:
        if isa not in (None, "avx512", "avx2"):
            raise ConfigError(f"expected avx512 or avx2, got {isa}")
        return threads * (50e9 if isa == "avx2" else 100e9)

    def read_bytes_per_s(
        self, footprint_bytes: int, threads: int, kind: Literal["stream", "weights"] = "stream"
    ) -> float:
        assert footprint_bytes > 0
        level = self.level(footprint_bytes, threads)
        scale = (KERNEL[level] if kind == "weights" else 1.0) * (1 if level == "DRAM" else threads)
        return 1e9 * scale * READ_GB_S[level]

    def lookup_s(
        self, row_bytes: int, footprint_bytes: int, threads: int, tables: float = 1.0, run: int = 1
    ) -> float:
        assert row_bytes >= 64
        ns = 1.0 if footprint_bytes <= L2 else 4.0 if footprint_bytes <= L3 else 10.0
        return (ns + (row_bytes / 64 if ns == 10.0 else 0.0)) * 1e-9 / threads


def machine(threads: tuple[int, ...] = (1, 2)) -> RoundPeaks:
    """The machine, with as many figures as a roofline draws."""
    return RoundPeaks(
        machine=Machine(
            cpu="Round", cores=2, cores_allowed=2, flags=(), memory_bytes=1 << 30, kernel="k",
            python="3", recstack="0",
        ),
        created="2026-01-01T00:00:00+00:00",
        l1_bytes=L1,
        l2_bytes=L2,
        l3_bytes=L3,
        l3_cores=2,
        compute=tuple(
            ComputePeak(threads=t, dtype="fp32", isa="avx512", gops=100.0 * t) for t in threads
        ),
        read=tuple(
            ReadPeak(threads=t, kind=kind, level=level, footprint_bytes=size, gb_s=gb_s * scale)
            for t in threads
            for level, gb_s in READ_GB_S.items()
            for kind, scale in (("stream", 1.0), ("weights", KERNEL[level]))
            for size in [FOOTPRINTS[level]]
        ),
        gather=(
            GatherPeak(threads=1, row_bytes=128, footprint_bytes=8 * L3, tables=1, huge_pages=True,
                       hint="T1", distance=16, burst=1, ns=12.0, plain_ns=20.0),
        ),
        prefetches=(),
    )  # fmt: skip
