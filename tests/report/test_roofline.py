from __future__ import annotations

import re

import pytest

from recstack.errors import DataError
from recstack.report import render
from recstack.report.document import read
from recstack.report.roofline import roofline
from tests.report.conftest import Write
from tests.report.samples import found_record, roofline_record
from tests.report.structure import Element, parse, table
from tests.report.test_page import HOSTILE, check

CASE = "wnd, 1 thread"


def page(write: Write, *records: dict[str, object]) -> Element:
    return check(render([write(*records, kind="bench")]))


def chart(root: Element, index: int = 0) -> Element:
    (found,) = [
        svg for svg in root.all("svg")
        if f"roofline-{index}-title" in (svg.attributes.get("aria-labelledby") or "")
    ]  # fmt: skip
    return found


def test_each_batch_and_its_floor(write: Write) -> None:
    root = page(write, roofline_record(64), roofline_record(1))
    assert table(root, f"Roofline of {CASE}") == [
        ["1", "0.488", "20.0", "0.0500", "0.0200", "2.50", "weights"],
        ["64", "12.3", "20.0", "3.20", "1.28", "2.50", "weights"],
    ]
    assert table(root, "Time over floor, by rows of the batch") == [[CASE, "2.50", "2.50"]]
    titles = [t.text for t in chart(root).all("title")]
    assert "1 rows, floor 0.0200 µs, weights" in titles
    assert "64 rows, 3.20 µs, 2.50 times the floor" in titles


def test_a_roof_ends_where_it_meets_the_peak(write: Write) -> None:
    """80 GB/s meet 100 GFLOP/s at 1.25 FLOP/byte: as high as the peak, and as far right as the peak
    begins.
    """
    (stretched,) = [s for s in chart(page(write, roofline_record(8))).all("svg") if s.all("path")
                    and s.attributes.get("preserveaspectratio") == "none"]  # fmt: skip
    paths = {p.attributes["class"]: p.attributes["d"] for p in stretched.all("path")}
    x0, y0, x1, y1 = map(float, re.findall(r"[\d.]+", paths["line s1"]))
    peak_x, peak_y = map(float, re.findall(r"[\d.]+", paths["limit"])[:2])
    assert (x1, y1) == (peak_x, peak_y)
    assert x0 < x1 and y0 > y1
    gather = list(map(float, re.findall(r"[\d.]+", paths["line s2"])))
    # 4 GB/s are 20 times less: as much further right, where the slope is the same.
    slope = (y0 - y1) / (x1 - x0)
    assert gather[3] == peak_y and gather[2] > x1
    assert (gather[1] - gather[3]) / (gather[2] - gather[0]) == pytest.approx(slope, rel=0.02)


def test_floors_without_times(write: Write) -> None:
    record = roofline_record(16, measured_us=None, origin="modelled")
    root = page(write, record)
    assert table(root, f"Roofline of {CASE}") == [
        ["16", "5.71", "–", "–", "0.320", "–", "weights"],
    ]
    assert "measured, by rows" not in root.text


def test_cases_are_apart_and_in_their_order(write: Write) -> None:
    records = [
        roofline_record(1, model="wnd"),
        roofline_record(1, model="din", threads=2),
        roofline_record(1, model="din", isa="avx2", queries=4),
    ]
    root = page(write, *records)
    rows = table(root, "Time over floor, by rows of the batch")
    assert [row[0] for row in rows] == [CASE, "din, 2 threads", "din, 1 thread, avx2, 4 queries"]
    assert len(root.all("figure")) == 3
    chart(root, 2)


def test_a_size_that_one_model_lacks(write: Write) -> None:
    root = page(write, roofline_record(1), roofline_record(4, model="din"))
    assert table(root, "Time over floor, by rows of the batch") == [
        [CASE, "2.50", "–"], ["din, 1 thread", "–", "2.50"],
    ]  # fmt: skip


def test_texts_do_not_overlap(write: Write) -> None:
    """Batches of one intensity and rate fall on one point: one of their texts is written."""
    same = [roofline_record(n, flops=1000, bytes=500, measured_us=0.05, floor_us=0.02)
            for n in (1, 2, 3)]  # fmt: skip
    texts = [t.text for t in chart(page(write, *same)).all("text")]
    assert texts.count("1") >= 1 and "3" not in texts


def test_no_roofs_at_all(write: Write) -> None:
    root = page(write, roofline_record(1, roofs=[]))
    assert "peak 100 GFLOP/s" in root.text


def test_a_report_without_rooflines_does_not_miss_them(write: Write) -> None:
    path = write(found_record("tuned"))
    assert not roofline(read([path]))
    assert "roofline" not in parse(render([path])).text.lower()


def test_hostile_text_stays_text(write: Write) -> None:
    roofs = [{"name": HOSTILE, "gb_s": 4.0}]
    root = page(write, roofline_record(1, model=HOSTILE, isa=HOSTILE, bound=HOSTILE, roofs=roofs))
    assert root.text.count(HOSTILE.replace("\x00", "\ufffd").replace("\ud800", "\ufffd")) > 5


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"floor_us": 0.0}, "floor_us"), ({"bytes": 0}, "bytes"), ({"measured_us": -1.0}, "measured"),
     ({"roofs": [{"name": "L2", "gb_s": 0}]}, "roofs.0.gb_s"), ({"rows": 0}, "rows")],
)  # fmt: skip
def test_wrong_records_are_refused(write: Write, changes: dict[str, object], place: str) -> None:
    with pytest.raises(DataError, match=place):
        render([write({**roofline_record(1), **changes}, kind="bench")])
