from __future__ import annotations

import pytest

from recstack.profile.floor import floor
from recstack.profile.gather import TableUse, footprint_bytes
from tests.profile.machine import machine
from tests.profile.models import tables

PEAKS = machine()


def test_equal_tables_share_the_caches() -> None:
    """Four tables of 512 kB would each fit the last cache of 1 MB; together they do not."""
    alone = floor(tables((4096, 32, 3)), 2, 1, PEAKS)
    assert alone.gather_ns == pytest.approx(2 * 3 * 4.0)
    together = floor(tables(*[(4096, 32, 3)] * 4), 2, 1, PEAKS)
    assert together.gather_ns == pytest.approx(4 * 2 * 3 * (10.0 + 2.0))


def test_a_table_of_a_few_rows_stays_near_beside_a_huge_one() -> None:
    """A row of 4 is needed again after 4 batches, when 4 rows of the huge table have come."""
    few, huge = floor(tables((4, 32, 1), (1_000_000, 32, 1)), 1, 1, PEAKS).ops[:2]
    assert few.gather_ns == pytest.approx(1.0)
    assert huge.gather_ns == pytest.approx(12.0)


def test_footprint_between_two_uses() -> None:
    small, large = TableUse(100, 128, 2), TableUse(1000, 64, 6)
    assert footprint_bytes(small, [small, large]) == 100 * 128 + 300 * 64
    assert footprint_bytes(large, [small, large]) == 100 * 128 + 1000 * 64
    assert footprint_bytes(TableUse(3, 128, 2), [TableUse(9, 64, 1)]) == 2 * 64


def test_wide_rows_cost_more_and_narrow_ones_a_line() -> None:
    """lookup_s of the round machine refuses rows below a line."""
    wide = floor(tables((40_000, 64, 1)), 1, 1, PEAKS)
    assert wide.gather_ns == pytest.approx(10.0 + 256 / 64)
    narrow = floor(tables((1_000_000, 1, 1)), 1, 1, PEAKS)
    assert narrow.gather_ns == pytest.approx(10.0 + 1.0)
    assert narrow.gather_bytes == 4
