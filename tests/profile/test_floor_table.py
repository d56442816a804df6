from __future__ import annotations

from recstack.model import zoo
from recstack.profile.floor import Floor, floor
from recstack.profile.floor_table import floor_table
from tests.profile.machine import machine
from tests.profile.models import mixed
from tests.tables import text_of

PEAKS = machine()


def lines(found: Floor) -> list[list[str]]:
    return [line.split() for line in text_of(floor_table(found)).splitlines()]


def test_each_op_and_the_total() -> None:
    title, _, *rows = lines(floor(mixed(), 64, 1, PEAKS))
    assert "64 rows, 1 queries, 1 threads" in " ".join(title) and "(modelled" in " ".join(title)
    assert rows == [
        ["x1", "linear", "compute", "0.033", "1.1", "0.0", "0.33", "0.01", "0.33"],
        ["bag", "embedding_bag", "gather", "0.010", "0.0", "41.0", "0.10", "1.28", "1.28"],
        ["score", "linear", "compute", "0.049", "1.5", "0.0", "0.49", "0.01", "0.49"],
        ["one", "op", "after", "another", "0.092", "2.6", "41.0", "2.10"],
        ["floor", "gather", "0.092", "2.6", "41.0", "0.92", "1.30", "1.30"],
    ]


def test_equal_tables_take_one_line() -> None:
    """253 tables, 759 lookups in all, 128 bytes a row."""
    rows = lines(floor(zoo.outline("din", variant="deeprecsys"), 1, 1, PEAKS))
    (bags,) = [row for row in rows if row[0] == "bag_[0..252]"]
    assert bags[1:4] == ["x", "253", "embedding_bag"]
    assert bags[7] == f"{759 * 128 / 1e3:.1f}"
    assert len(rows) < 30


def test_no_rows() -> None:
    _, _, *rows = lines(floor(mixed(), 0, 1, PEAKS))
    assert [row[0] for row in rows] == ["one", "floor"]
