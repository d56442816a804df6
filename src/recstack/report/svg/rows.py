"""A chart of rows: a name, its numbers, and below them a bar or an interval on a common scale."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recstack.report.markup import Markup, tag
from recstack.report.svg.marks import Shape, mark
from recstack.report.svg.plot import Axis, frame
from recstack.report.text import shorten

Mark = tuple[float, Shape, str, str]
"""Value, shape, class of the series, and what is shown when pointed at."""
ROW_PX = 40
MIDDLE_PX = 26
LONGEST_NAME = 16


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    name, note: text at its left and right, above what is drawn; a long name is cut.
    bar: its end, from the low end of the scale.
    interval: its two ends.
    marks: on top.
    """

    name: str
    note: str
    of: str = "s0"
    bar: float | None = None
    interval: tuple[float, float] | None = None
    marks: Sequence[Mark] = ()


def rows_chart(ident: str, title: str, description: str, axis: Axis, rows: Sequence[Row]) -> Markup:
    """The chart; ident is unique in the page."""
    height = ROW_PX * len(rows)
    inside = [*_axis(axis, height)]
    for i, row in enumerate(rows):
        inside += _row(row, axis, i * ROW_PX)
    return tag("div", frame(ident, title, description, inside, height), class_="rows")


def _axis(axis: Axis, height: int) -> Iterable[Markup]:
    last = len(axis.scale.ticks) - 1
    for i, (value, text) in enumerate(axis.scale.ticks):
        x = f"{100 * axis.scale.at(value):.3f}%"
        yield tag("line", x1=x, x2=x, y1=0, y2=height + 4, class_="grid")
        place = "start" if i == 0 else "end" if i == last else "middle"
        yield tag("text", text, x=x, y=height + 17, class_=f"tick {place}")
    yield tag("text", axis.title, x="100%", y=height + 36, class_="title end")


def _row(row: Row, axis: Axis, top_px: int) -> Iterable[Markup]:
    def at(value: float) -> float:
        return 100 * axis.scale.at(value)

    middle = top_px + MIDDLE_PX
    name = tag("text", shorten(row.name, LONGEST_NAME), x=0, y=top_px + 14, class_="name")
    yield tag("g", tag("title", row.name), name)
    yield tag("text", row.note, x="100%", y=top_px + 14, class_="note end")
    if row.bar is not None:
        width = f"{at(row.bar):.3f}%"
        yield tag("rect", x=0, y=middle - 5, width=width, height=10, class_=f"bar {row.of}")
    if row.interval:
        x1, x2 = (f"{at(end):.3f}%" for end in row.interval)
        yield tag("line", x1=x1, x2=x2, y1=middle, y2=middle, class_=f"whisker {row.of}")
    for value, shape, of, title in row.marks:
        yield mark(at(value), middle, shape, of, title)
