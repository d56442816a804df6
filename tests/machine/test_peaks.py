"""What the stored figures say about sizes and thread counts that were not measured."""

from __future__ import annotations

import math

import pytest

from recstack.errors import ConfigError
from tests.machine.draft import GB, KB, MB, lookups, peaks, read


def test_the_fastest_set_counts_unless_one_is_named() -> None:
    assert peaks().ops_per_s(1) == 100e9
    assert peaks().ops_per_s(1, isa="scalar") == 50e9
    assert peaks().ops_per_s(1, "int8") == 400e9


def test_thread_counts_between_the_measured_ones_scale_and_past_them_stay() -> None:
    assert peaks().ops_per_s(2) == pytest.approx(200e9)
    assert peaks().ops_per_s(3) == pytest.approx(300e9)
    assert peaks().ops_per_s(64) == 400e9


@pytest.mark.parametrize(("dtype", "isa"), [("bf16", None), ("int8", "avx2")])
def test_a_peak_that_the_machine_lacks_is_refused(dtype, isa) -> None:
    with pytest.raises(ConfigError, match=f"int8 on avx512_vnni.*got {dtype} on"):
        peaks().ops_per_s(1, dtype, isa)


@pytest.mark.parametrize(
    ("footprint", "threads", "level"),
    [
        (1, 1, "L1"), (32 * KB, 1, "L1"), (32 * KB + 1, 1, "L2"), (1 * MB, 8, "L2"),
        (32 * MB, 1, "L3"), (17 * MB, 2, "DRAM"), (16 * MB, 2, "L3"), (16 * MB, 64, "L3"),
        (32 * MB + 1, 1, "DRAM"),
    ],
)  # fmt: skip
def test_the_level_is_the_smallest_that_holds_all_threads(footprint, threads, level) -> None:
    assert peaks().level(footprint, threads) == level


def test_a_machine_without_an_l3_reads_from_memory_past_its_l2() -> None:
    assert peaks().model_copy(update={"l3_bytes": 0}).level(2 * MB) == "DRAM"


@pytest.mark.parametrize(
    ("footprint", "gb_s"),
    [
        (100, 200), (32 * KB, 200), (33 * KB, 100), (1 * MB, 100),  # one is its level's
        (2 * MB, 80), (16 * MB, math.sqrt(80 * 40)), (32 * MB, 40),  # two are joined
        (33 * MB, 30), (100 * GB, 30),
    ],
)  # fmt: skip
def test_reads_have_the_figures_of_their_level(footprint, gb_s) -> None:
    assert peaks().read_bytes_per_s(footprint, 1) == pytest.approx(gb_s * 1e9)


def test_reads_of_a_level_that_was_not_measured_come_from_the_next_one_out() -> None:
    assert peaks().read_bytes_per_s(8 * MB, 1, "weights") == 27e9
    assert peaks().read_bytes_per_s(16 * KB, 1, "weights") == 90e9
    inner = peaks(read=(read("L1", 16 * KB, 1, 200), read("L2", 512 * KB, 1, 100)))
    assert inner.read_bytes_per_s(1 * GB, 1) == 100e9


def test_reads_of_more_threads() -> None:
    assert peaks().read_bytes_per_s(512 * KB, 2) == 200e9
    # 20 MB each: more than the L3 that two threads share.
    assert peaks().read_bytes_per_s(20 * MB, 2) == 36e9
    assert peaks().read_bytes_per_s(20 * MB, 2) < peaks().read_bytes_per_s(20 * MB, 1)


@pytest.mark.parametrize(
    ("row", "footprint", "threads", "ns"),
    [
        (64, 1 * MB, 1, 1.0), (64, 4 * GB, 1, 8.0), (256, 4 * GB, 4, 8.0),
        (64, 64 * MB, 1, math.sqrt(8.0)),  # midway in logarithms
        (128, 1 * MB, 1, 2.0), (128, 4 * GB, 1, 16.0),
        (64, 4 * GB, 2, 4.0),
        (64, 1, 1, 1.0), (64, 100 * GB, 1, 8.0),  # past the tables measured
        (16, 4 * GB, 1, 8.0),  # less than a line
        (1024, 4 * GB, 1, 128.0),  # in proportion to the bytes
        (64, 4 * GB, 100, 2.0),
    ],
)  # fmt: skip
def test_lookups_lie_on_the_curve_between_figures(row, footprint, threads, ns) -> None:
    assert peaks().lookup_s(row, footprint, threads) == pytest.approx(ns * 1e-9)


@pytest.mark.parametrize(
    ("tables", "run", "ns"),
    [
        (1, 1 << 20, 8.0), (16, 1, 8.0), (16, 1024, 8.0),  # one table, or short runs
        (16, 32_000, 2.0), (16, 1 << 20, 2.0), (64, 32_000, 2.0),
        (4, 32_000, 4.0),  # midway in logarithms
        (16, math.sqrt(1024 * 32_000), 4.0),
    ],
)  # fmt: skip
def test_long_runs_in_one_of_many_tables_cost_less(tables, run, ns) -> None:
    whole, split = lookups(64, 4 * GB, 1, 8.0), lookups(64, 4 * GB, 1, 2.0, tables=16)
    made = peaks(gather=(whole, split))
    assert made.lookup_s(64, 4 * GB, 1, tables, run) == pytest.approx(ns * 1e-9)


def test_a_split_that_was_slower_is_not_taken() -> None:
    small = [lookups(64, 1 * GB, 1, 3.0), lookups(64, 4 * GB, 1, 8.0)]
    made = peaks(gather=(*small, lookups(64, 4 * GB, 1, 5.0, tables=16)))
    assert made.lookup_s(64, 1 * GB, 1, 16, 32_000) == pytest.approx(3e-9)


@pytest.mark.parametrize(
    ("row", "prefetch"),
    [(4, ("T1", 32, 1)), (100, ("T1", 32, 1)), (200, ("NTA", 8, 64)), (4096, ("NTA", 8, 64))],
)
def test_prefetch_is_that_of_the_nearest_row(row, prefetch) -> None:
    assert peaks().prefetch(row) == prefetch


def test_figures_that_are_absent_are_an_error() -> None:
    none = peaks(compute=(), read=(), gather=(), prefetches=())
    for ask in (
        lambda: none.ops_per_s(1), lambda: none.read_bytes_per_s(1, 1),
        lambda: none.lookup_s(64, 1, 1), lambda: none.prefetch(64),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=r"expected .*measured"):
            ask()
