"""The measurement of this machine: what is measured, in what order of size; no times."""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest

from recstack import _native
from recstack.errors import ConfigError
from recstack.machine import Peaks, measure_peaks
from recstack.machine.arena import make_arena
from recstack.machine.effort import QUICK
from recstack.machine.lookups import HINTS, PLAIN, Cell, best_prefetches, choices_of
from recstack.machine.measure import footprints, layer_stack, smallest, thread_counts
from recstack.machine.topology import Caches

CORES = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def measured() -> Peaks:
    steps: list[str] = []
    made = measure_peaks(progress=steps.append, effort=QUICK)
    assert steps[:3] == ["memory", "multiply-adds", "sequential reads"]
    assert len(steps) == 3 + 2 * 2
    assert sorted(os.sched_getaffinity(0)) == CORES
    return made


def test_every_set_and_thread_count_has_a_compute_peak(measured: Peaks) -> None:
    counts = thread_counts(len(CORES))
    expected = {(d, isa, n) for d, isa in _native.compute_peaks() for n in counts}
    assert {(p.dtype, p.isa, p.threads) for p in measured.compute} == expected
    fp32 = {isa for d, isa in _native.compute_peaks() if d == "fp32"}
    assert fp32 == {name for name, has in _native.instruction_sets() if has}


def test_peaks_are_of_this_world(measured: Peaks) -> None:
    assert 1e8 < measured.ops_per_s(1) < 1e12
    near = measured.read_bytes_per_s(measured.l1_bytes // 2, 1)
    assert near > measured.read_bytes_per_s(1 << 40, 1) / 2
    for p in measured.gather:
        assert 0.01 < p.ns <= p.plain_ns < 1e6
        assert (p.hint, p.distance, p.burst) in choices_of(HINTS)
    assert [p.row_bytes for p in measured.prefetches] == sorted(QUICK.rows)


def test_every_level_is_read_both_ways(measured: Peaks) -> None:
    for kind in ("stream", "weights"):
        one = [p for p in measured.read if p.kind == kind and p.threads == 1]
        assert {"L1", "L2"} <= {p.level for p in one}
        for p in one:
            assert measured.level(p.footprint_bytes) == p.level


def test_every_row_table_and_thread_count_is_looked_up(measured: Peaks) -> None:
    expected = {
        (row, table, count, n) for row in QUICK.rows for table in QUICK.tables
        for count in ((1, *QUICK.split) if table >= QUICK.split_bytes else (1,))
        for n in thread_counts(len(CORES))
    }  # fmt: skip
    got = [(p.row_bytes, p.footprint_bytes, p.tables, p.threads) for p in measured.gather]
    assert len(got) == len(set(got))
    assert set(got) == expected


def test_the_prefetch_is_best_over_all_tables_past_the_caches() -> None:
    a, b, c = ("T1", 32, 1), ("T1", 16, 128), ("T0", 16, 1)
    cells = [
        Cell(64, 10, 1, 1, {PLAIN: 1.0, a: 2.0, b: 2.0, c: 2.0}),  # a cache holds it
        Cell(64, 100, 1, 1, {PLAIN: 9.0, a: 4.0, b: 5.0, c: 1.0}),  # c was tried here only
        Cell(64, 100, 8, 1, {PLAIN: 9.0, a: 4.0, b: 2.0}),
    ]
    (best,) = best_prefetches(cells, far_bytes=50)
    assert (best.row_bytes, best.hint, best.distance, best.burst) == (64, *b)
    (usual,) = best_prefetches([Cell(64, 100, 1, 1, {a: 2.1, b: 2.0})], far_bytes=50)
    assert (usual.hint, usual.distance, usual.burst) == a  # b is not clearly better
    (near,) = best_prefetches(cells[:1], far_bytes=50)
    assert near.hint == "none"


def test_stored_peaks_are_equal_to_those_measured(measured: Peaks) -> None:
    assert Peaks.model_validate_json(measured.model_dump_json()) == measured


@pytest.mark.parametrize("threads", [0, len(CORES) + 1])
def test_threads_that_cannot_be_had_are_refused(threads: int) -> None:
    with pytest.raises(ConfigError, match=f"between 1 and {len(CORES)}, got {threads}"):
        measure_peaks(threads)


def test_footprints_lie_well_inside_their_level() -> None:
    sizes = footprints(Caches(32 << 10, 2 << 20, 96 << 20, l3_cores=48), 48)
    # 2 MiB of L3 for each thread is no more than its L2.
    assert [level for level, _ in sizes] == ["L1", "L2", "DRAM"]
    assert footprints(Caches(32 << 10, 1 << 20, 0, 1), 1)[-1] == ("DRAM", 64 << 20)


def test_where_memory_is_short_a_stream_from_memory_shrinks_but_stays_past_the_caches() -> None:
    caches = Caches(32 << 10, 1 << 20, 32 << 20, l3_cores=2)
    for threads in (1, 2):
        level, wanted = footprints(caches, threads)[-1]
        assert smallest(level, wanted) * threads > caches.l3_bytes
        assert smallest("L2", 512 << 10) == 512 << 10


@pytest.mark.parametrize("size", [1 << 10, 16 << 10, 300 << 10, 1 << 20, 1_700_000, 20 << 20])
def test_layers_fill_their_footprint(size: int) -> None:
    k, n, layers = layer_stack(size)
    assert k <= 512
    assert n % 32 == 0
    assert size * 5 / 8 < 4 * k * n * layers <= max(size, 4096)


def test_an_arena_is_there_and_zero() -> None:
    arena = make_arena(4 << 20, threads=2, seconds=1)
    assert arena.nbytes == 4 << 20
    assert not np.any(arena.data)
    assert arena.data.ctypes.data % (2 << 20) == 0


def test_an_arena_that_takes_too_long_is_cut() -> None:
    assert make_arena(256 << 20, threads=1, seconds=0).nbytes == 64 << 20


def call(name: str, **changes: object) -> object:
    arena = make_arena(2 << 20, 1, 1).data
    given: dict[str, dict[str, object]] = {
        "peak_compute": {"dtype": "fp32", "isa": "scalar"},
        "peak_stream": {"isa": "scalar", "arena": arena, "footprint_bytes": 1 << 20},
        "peak_weights": {"isa": "scalar", "arena": arena, "k": 64, "n": 64, "layers": 1},
        "peak_gather": {
            "isa": "scalar", "arena": arena, "footprint_bytes": 1 << 20, "row_bytes": 64,
            "tables": 1, "lookups": 160, "choices": [("T1", 8, 1)], "seed": 0,
        },
    }  # fmt: skip
    arguments = given[name] | {"cores": CORES[:1], "budget_ns": 0} | changes
    return getattr(_native, name)(**arguments)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("peak_compute", {"dtype": "fp64"}, "no multiply-add of fp64"),
        ("peak_compute", {"cores": []}, "at least one core"),
        ("peak_stream", {"isa": "mmx"}, "supported instruction set, got 'mmx'"),
        ("peak_stream", {"footprint_bytes": 1000}, "multiple of 1024"),
        ("peak_stream", {"footprint_bytes": 4 << 20}, "arena of 4194304 bytes, got 2097152"),
        ("peak_weights", {"layers": 1 << 20}, "arena of"),
        ("peak_weights", {"k": 3, "n": 3}, "whole cache lines"),
        ("peak_gather", {"row_bytes": 100}, "multiple of 64"),
        ("peak_gather", {"row_bytes": 320}, "multiple of 64"),
        ("peak_gather", {"choices": [("T9", 8, 1)]}, "got 'T9'"),
        ("peak_gather", {"choices": [("T1", 0, 1)]}, "distance"),
        ("peak_gather", {"choices": [("T1", 8, 129)]}, "burst"),
        ("peak_gather", {"lookups": 81}, "multiple of 80"),
        ("peak_gather", {"tables": 0}, "tables"),
        ("peak_gather", {"tables": 1 << 20}, "rows"),
        ("peak_gather", {"footprint_bytes": 32}, "rows"),
    ],
)  # fmt: skip
def test_arguments_are_checked_at_the_edge(name, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        call(name, **changes)


@pytest.mark.skipif(sys.platform != "linux", reason="pinning is Linux's")
def test_a_core_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RuntimeError, match=r"cannot pin to cores \{60000\}"):
        call("peak_compute", cores=[60000])
