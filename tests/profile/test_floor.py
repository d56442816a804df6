"""Every expectation is worked out by hand from tests/profile/machine.py's round numbers."""

from __future__ import annotations

import json

import pytest

from recstack.errors import ConfigError
from recstack.model import zoo
from recstack.model.cost import describe
from recstack.profile.floor import Floor, OpFloor, floor
from tests.profile.machine import machine
from tests.profile.models import constant_weight, layers, mixed, tables

PEAKS = machine()


def ops(found: Floor) -> dict[str, OpFloor]:
    return {op.name: op for op in found.ops}


def test_one_row_waits_for_its_weights_and_rows() -> None:
    """2624 bytes of weights lie in L1 (160 GB/s), a table of 128 kB in L3 (4 ns a lookup)."""
    found = floor(mixed(), 1, 1, PEAKS)
    by_name = ops(found)
    assert by_name["x1"].bound == "weights"
    assert by_name["x1"].compute_ns == pytest.approx(512 / 100)
    assert by_name["x1"].ns == pytest.approx(1088 / 160) == by_name["x1"].weights_ns
    assert by_name["bag"].bound == "gather"
    assert by_name["bag"].ns == pytest.approx(5 * 4.0)
    assert by_name["bag"].compute_ns == pytest.approx(160 / 100)
    assert by_name["both"].ns == 0
    assert by_name["score"].ns == pytest.approx(1536 / 160)
    assert found.weights_level == "L1"
    assert found.compute_ns == pytest.approx((512 + 160 + 768) / 100)
    assert found.memory_ns == pytest.approx(2624 / 160 + 20)
    assert found.ns == found.memory_ns
    assert found.bound == "gather"


def test_many_rows_compute_while_their_table_rows_arrive() -> None:
    """Weights are read once, so the layers are bound by arithmetic, but the batch by its lookups:
    one after the other the ops need more than both at once.
    """
    found = floor(mixed(), 64, 1, PEAKS)
    assert [op.bound for op in found.ops] == ["compute", "gather", "compute", "compute"]
    assert found.weight_bytes == 2624 and found.gather_bytes == 64 * 5 * 128
    assert found.compute_ns == pytest.approx(64 * 14.40)
    assert found.ns == pytest.approx(2624 / 160 + 64 * 20)
    assert found.serial_ns == pytest.approx(64 * (5.12 + 20 + 7.68))


def test_a_batch_can_be_bound_by_compute() -> None:
    """2 * 64 * 64 FLOP a row against 16 kB of weights in L2 (125 GB/s by the one-row kernel)."""
    found = floor(layers(64, 64), 100, 1, PEAKS)
    assert found.weights_level == "L2"
    assert found.memory_ns == pytest.approx(16384 / 125)
    assert found.ns == found.serial_ns == pytest.approx(100 * 8192 / 100)
    assert found.bound == "compute"


@pytest.mark.parametrize(
    ("width", "level", "gb_s"),
    [(32, "L1", 160.0), (33, "L2", 125.0), (128, "L2", 125.0), (129, "L3", 50.0),
     (512, "L3", 50.0), (513, "DRAM", 10.0)],
)  # fmt: skip
def test_weights_come_from_the_level_that_holds_them(width: int, level: str, gb_s: float) -> None:
    """The faster of a stream and the kernel's reading: only in L2 it is the kernel's."""
    found = floor(layers(width, width), 1, 1, PEAKS)
    assert found.weights_level == level
    assert found.weights_ns == pytest.approx(4 * width * width / gb_s)
    assert found.bound == ("compute" if 4 / gb_s <= 0.02 else "weights")


def test_all_layers_together_decide_the_level() -> None:
    """Two layers of 4 kB are 8 kB, which L1 does not hold; each alone it would."""
    found = floor(layers(32, 32, 32), 1, 1, PEAKS)
    assert found.weights_level == "L2"
    assert [op.weights_ns for op in found.ops] == pytest.approx([4096 / 125] * 2)


def test_a_shared_weight_is_read_once() -> None:
    found = floor(layers(32, 32, 32, shared=True), 1, 1, PEAKS)
    assert [op.weight_bytes for op in found.ops] == [4096, 0]
    assert found.weights_level == "L1"
    assert [op.bound for op in found.ops] == ["weights", "compute"]


def test_a_constant_counts_with_the_op_that_reads_it() -> None:
    found = ops(floor(constant_weight(), 3, 1, PEAKS))
    assert found["w"].weight_bytes == 0 and found["w"].ns == 0
    assert found["score"].weight_bytes == 4 * 16 * 8
    assert found["score"].flops == 3 * 2 * 16 * 8


def test_threads_share_compute_weights_and_lookups() -> None:
    """Two threads hold 64 kB each in their L2, where one's 128 kB lie in L3."""
    one, two = (floor(layers(256, 128), 4, threads, PEAKS) for threads in (1, 2))
    assert (one.weights_level, two.weights_level) == ("L3", "L2")
    assert one.compute_ns == pytest.approx(2 * two.compute_ns)
    assert one.weights_ns == pytest.approx(131072 / 50)
    assert two.weights_ns == pytest.approx(131072 / 250)
    gathers = [floor(mixed(), 8, threads, PEAKS).gather_ns for threads in (1, 2)]
    assert gathers == pytest.approx([160.0, 80.0])


def test_an_instruction_set_has_its_own_peak() -> None:
    found = floor(layers(64, 64), 100, 1, PEAKS, isa="avx2")
    assert found.isa == "avx2" and found.ns == pytest.approx(100 * 8192 / 50)
    with pytest.raises(ConfigError, match="expected avx512 or avx2"):
        floor(layers(64, 64), 1, 1, PEAKS, isa="neon")


def test_user_scope_counts_per_query() -> None:
    found = floor(mixed("user"), 10, 1, PEAKS, queries=2)
    assert ops(found)["bag"].lookups == 2 * 5
    assert found.gather_ns == pytest.approx(2 * 5 * 4.0)
    assert found.flops == 10 * (512 + 768) + 2 * 160
    assert found.queries == 2


def test_ragged_bags_count_with_their_expected_length() -> None:
    found = floor(mixed(length=7, fixed=False), 3, 1, PEAKS)
    assert ops(found)["bag"].gather_bytes == 3 * 7 * 128
    assert found.gather_ns == pytest.approx(3 * 7 * 4.0)


@pytest.mark.parametrize("queries", [0, 1, 3])
def test_no_rows_ask_for_nothing(queries: int) -> None:
    found = floor(mixed("user"), 0, 1, PEAKS, queries=queries)
    assert found.ns == found.serial_ns == 0
    assert found.flops == found.weight_bytes == found.gather_bytes == 0


def test_a_model_without_dense_weights() -> None:
    found = floor(tables((1000, 32, 1)), 1, 1, PEAKS)
    assert (found.weight_bytes, found.weights_ns) == (0, 0)
    assert found.ns == pytest.approx(4.0)


@pytest.mark.parametrize(("rows", "queries", "threads"), [(-1, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_wrong_sizes(rows: int, queries: int, threads: int) -> None:
    with pytest.raises(ConfigError, match="expected"):
        floor(mixed(), rows, threads, PEAKS, queries=queries)


@pytest.mark.parametrize("name", zoo.names())
def test_the_zoo_counts_as_described(name: str) -> None:
    made = zoo.outline(name)
    found, cost = floor(made, 16, 1, PEAKS, queries=2), describe(made, 16, 2)
    assert found.flops == cost.batch.flops
    assert found.gather_bytes == cost.batch.gather_bytes
    assert found.weight_bytes == cost.weight_bytes - cost.table_bytes
    assert 0 < found.ns <= found.serial_ns * (1 + 1e-9)


def test_as_plain_data() -> None:
    found = json.loads(json.dumps(floor(mixed(), 1, 1, PEAKS).as_dict()))
    assert found["origin"] == "modelled" and found["bound"] == "gather"
    assert found["ns"] == pytest.approx(36.4)
    assert found["ops"][1]["bound"] == "gather" and found["ops"][1]["ns"] == 20.0
