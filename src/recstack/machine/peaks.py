"""What a machine can do at best: the peaks that floors are computed from. All are measured."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recstack.results import Machine

Dtype = Literal["fp32", "bf16", "int8"]
Level = Literal["L1", "L2", "L3", "DRAM"]
Hint = Literal["none", "T0", "T1", "NTA"]


class _Figure(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    threads: int = Field(ge=1)


class ComputePeak(_Figure):
    """Multiply-adds from registers: `gops` 1e9 operations/s of all threads, a multiply-add as 2."""

    dtype: Dtype
    isa: str
    gops: float = Field(gt=0)


class ReadPeak(_Figure):
    """Reading `footprint_bytes` per thread again and again, in 1e9 bytes/s of all threads.

    kind: "stream" for plain sequential loads, "weights" for a dense layer's packed weights as the
        one-row kernel reads them.
    level: the smallest level of the hierarchy that holds the footprint.
    """

    kind: Literal["stream", "weights"]
    level: Level
    footprint_bytes: int = Field(gt=0)
    gb_s: float = Field(gt=0)


class GatherPeak(_Figure):
    """Sum-pooling random rows of a table: nanoseconds per lookup of all threads together.

    footprint_bytes: size of the table. huge_pages: whether huge pages backed it.
    hint, distance: the best prefetch found; plain_ns: without any.
    """

    row_bytes: int = Field(gt=0)
    footprint_bytes: int = Field(gt=0)
    huge_pages: bool
    hint: Hint
    distance: int = Field(ge=0)
    ns: float = Field(gt=0)
    plain_ns: float = Field(gt=0)


class Peaks(BaseModel):
    """The peaks of one machine, with its fingerprint.

    l1_bytes, l2_bytes: data cache of one core; l3_bytes: of the whole machine's largest share that
        one thread can use.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal[1] = 1
    machine: Machine
    created: str
    l1_bytes: int
    l2_bytes: int
    l3_bytes: int
    compute: tuple[ComputePeak, ...]
    read: tuple[ReadPeak, ...]
    gather: tuple[GatherPeak, ...]

    def ops_per_s(self, threads: int, dtype: Dtype = "fp32", isa: str | None = None) -> float:
        """Operations per second of `threads` threads; the fastest instruction set when None."""
        raise NotImplementedError

    def read_bytes_per_s(
        self, footprint_bytes: int, threads: int, kind: Literal["stream", "weights"] = "stream"
    ) -> float:
        """Bytes per second of all threads, each reading `footprint_bytes` again and again."""
        raise NotImplementedError

    def lookup_s(self, row_bytes: int, footprint_bytes: int, threads: int) -> float:
        """Seconds per lookup, of all threads together, from tables of `footprint_bytes`."""
        raise NotImplementedError

    def prefetch(self, row_bytes: int) -> tuple[Hint, int]:
        """Best hint and distance for rows of `row_bytes` from the largest table measured."""
        raise NotImplementedError
