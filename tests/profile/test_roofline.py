from __future__ import annotations

from pathlib import Path

import pytest

from recstack import results
from recstack.errors import ConfigError
from recstack.profile.floor import floor
from recstack.profile.roofline import roofline_record
from tests.profile.machine import machine
from tests.profile.models import layers, mixed

PEAKS = machine()


def test_a_measured_batch() -> None:
    record = roofline_record(floor(mixed(), 64, 1, PEAKS, isa="avx2"), PEAKS, 2.5)
    assert record["origin"] == "measured" and record["record"] == "roofline"
    assert (record["rows"], record["threads"], record["isa"]) == (64, 1, "avx2")
    assert record["flops"] == 64 * 1440
    assert record["bytes"] == 2624 + 64 * 640
    assert record["measured_us"] == 2.5
    assert record["floor_us"] == pytest.approx(max(64 * 1440 / 50, 16.4 + 64 * 20) / 1e3)
    assert record["peak_gflop_s"] == 50.0


def test_roofs_are_the_best_reads_of_as_many_threads() -> None:
    """L2 by the kernel (125), the rest by the stream; a row of 128 bytes in 4 ns is 32 GB/s."""
    roofs = {
        r["name"]: r["gb_s"] for r in roofline_record(floor(mixed(), 1, 1, PEAKS), PEAKS)["roofs"]
    }
    assert roofs == pytest.approx({"L2": 125.0, "L3": 50.0, "DRAM": 10.0, "gather": 32.0})


def test_a_model_without_lookups_has_no_gather_roof() -> None:
    record = roofline_record(floor(layers(8, 8), 1, 1, PEAKS), PEAKS)
    assert [r["name"] for r in record["roofs"]] == ["L2", "L3", "DRAM"]
    assert record["origin"] == "modelled" and record["measured_us"] is None


def test_threads_that_were_not_measured_have_no_roof() -> None:
    record = roofline_record(floor(layers(8, 8), 1, 2, PEAKS), machine(threads=(1,)))
    assert record["roofs"] == []


def test_a_batch_of_nothing_has_no_place() -> None:
    with pytest.raises(ConfigError, match="got 0 FLOP on 0 bytes - at `by-hand`, 0 rows"):
        roofline_record(floor(mixed(), 0, 1, PEAKS), PEAKS)


def test_it_is_a_record_of_a_result_file(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    record = roofline_record(floor(mixed(), 4, 1, PEAKS), PEAKS, 1.5)
    results.write(path, "bench", [record], seed=0)
    assert results.read(path).records == (record,)
