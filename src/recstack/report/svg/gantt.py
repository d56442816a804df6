"""A chart of lines in time: each with bars from a begin to an end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recstack.report.markup import Markup, tag
from recstack.report.svg.plot import Axis, frame

LINE_PX = 18
BAR_SHARE = 0.62


@dataclass(frozen=True, slots=True)
class Bar:
    """From begin to end; of: class of the series; title: shown when pointed at."""

    begin: float
    end: float
    of: str
    title: str


@dataclass(frozen=True, slots=True)
class Line:
    """A name, "" for none, and its bars; later ones lie above earlier ones."""

    name: str
    bars: Sequence[Bar]
    height_px: int = LINE_PX


def gantt(ident: str, title: str, description: str, axis: Axis, lines: Sequence[Line]) -> Markup:
    """The chart; ident is unique in the page."""
    height = sum(line.height_px for line in lines)
    inside = [*_axis(axis, height)]
    top = 0
    for line in lines:
        inside += _line(line, axis, top)
        top += line.height_px
    return tag("div", frame(ident, title, description, inside, height), class_="plot")


def _axis(axis: Axis, height: int) -> Iterable[Markup]:
    for value, text in axis.scale.ticks:
        x = f"{100 * axis.scale.at(value):.3f}%"
        yield tag("line", x1=x, x2=x, y1=0, y2=height + 4, class_="grid")
        yield tag("text", text, x=x, y=height + 17, class_="tick middle")
    yield tag("text", axis.title, x="100%", y=height + 36, class_="title end")


def _line(line: Line, axis: Axis, top_px: int) -> Iterable[Markup]:
    middle, bar_px = top_px + line.height_px / 2, BAR_SHARE * line.height_px
    if line.name:
        yield tag("text", line.name, x=0, dx=-7, y=middle, dy="0.32em", class_="tick end")
    for bar in line.bars:
        x1, x2 = 100 * axis.scale.at(bar.begin), 100 * axis.scale.at(bar.end)
        yield tag(
            "rect",
            tag("title", bar.title),
            x=f"{x1:.3f}%",
            y=middle - bar_px / 2,
            width=f"{max(x2 - x1, 0.1):.3f}%",
            height=bar_px,
            class_=f"bar {bar.of}",
        )
