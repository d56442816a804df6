"""A plot of y against x: lines, bands, steps, markers, limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from recstack.report.markup import Markup, join, tag
from recstack.report.svg.marks import Shape, mark
from recstack.report.svg.scale import Scale

STRETCH = 1000
"""Width, in its own units, of the svg that holds the paths."""
TAG_PX, TAG_PERCENT = 13.0, 7.0
"""Room of a short text: its height, and its width in a chart of the least width."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale and what it measures, with its unit."""

    scale: Scale
    title: str


@dataclass(slots=True)
class Plot:
    """A chart under construction; `svg` ends it. Later elements lie above earlier ones."""

    x: Axis
    y: Axis
    height_px: int = 240
    _paths: list[Markup] = field(default_factory=list)
    _marks: list[Markup] = field(default_factory=list)

    def line(self, points: Sequence[Point], of: str) -> None:
        """A line through points; of: class of the series."""
        if len(points) > 1:
            self._path("M" + "L".join(self._at(p) for p in points), f"line {of}")

    def step(self, points: Sequence[Point], of: str) -> None:
        """A line that holds each y until the next x."""
        corners: list[Point] = []
        for x, y in points:
            if corners:
                corners.append((x, corners[-1][1]))
            corners.append((x, y))
        self.line(corners, of)

    def band(self, points: Sequence[tuple[float, float, float]], of: str) -> None:
        """The area between y low and y high: points are (x, low, high)."""
        if len(points) > 1:
            there = [(x, low) for x, low, _ in points]
            back = [(x, high) for x, _, high in reversed(points)]
            self._path("M" + "L".join(self._at(p) for p in [*there, *back]) + "z", f"band {of}")

    def whisker(self, x: float, low: float, high: float, of: str) -> None:
        """A vertical line from low to high."""
        self._path(f"M{self._at((x, low))}L{self._at((x, high))}", f"whisker {of}")

    def across(self, y: float, start: float | None = None) -> None:
        """A horizontal limit, from x = start on."""
        at = self.x.scale.low if start is None else start
        self._path(f"M{self._at((at, y))}H{STRETCH}", "limit")

    def upright(self, x: float) -> None:
        """A vertical limit."""
        self._path(f"M{self._at((x, self.y.scale.low))}V0", "limit")

    def mark(self, point: Point, shape: Shape, of: str, title: str) -> None:
        """A marker; title: its numbers."""
        self._marks.append(mark(self._x(point[0]), self._y(point[1]), shape, of, title))

    def label(self, point: Point, text: str) -> None:
        """Text beside a point of a rising curve, where the curve is not."""
        x = self._x(point[0])
        right = x < 62
        self._marks.append(
            tag(
                "text",
                text,
                x=f"{x:.3f}%",
                y=self._y(point[1]) + (13 if right else -4),
                dx=7 if right else -9,
                text_anchor="start" if right else "end",
                class_="label",
            )
        )

    def tags(self, tags: Sequence[tuple[Point, str]]) -> None:
        """Short texts below points; of those that would overlap only the first is written."""
        taken: list[Point] = []
        for point, text in tags:
            x, y = self._x(point[0]), self._y(point[1])
            if any(abs(x - a) < TAG_PERCENT and abs(y - b) < TAG_PX for a, b in taken):
                continue
            taken.append((x, y))
            at = f"{x:.3f}%"
            self._marks.append(tag("text", text, x=at, y=y + TAG_PX + 2, class_="tick middle"))

    def svg(self, ident: str, title: str, description: str) -> Markup:
        """The chart; ident is unique in the page."""
        stretched = tag(
            "svg",
            *self._paths,
            viewBox=f"0 0 {STRETCH} {self.height_px}",
            preserveAspectRatio="none",
            width="100%",
            height=self.height_px,
        )
        inside = [*self._axes(), stretched, *self._marks]
        return tag("div", frame(ident, title, description, inside, self.height_px), class_="plot")

    def _axes(self) -> Iterable[Markup]:
        height = self.height_px
        for value, text in self.y.scale.ticks:
            y = self._y(value)
            yield tag("line", x1="0%", x2="100%", y1=y, y2=y, class_="grid")
            yield tag("text", text, x=0, dx=-7, y=y, dy="0.32em", class_="tick end")
        for value, text in self.x.scale.ticks:
            x = f"{self._x(value):.3f}%"
            yield tag("line", x1=x, x2=x, y1=height, y2=height + 4, class_="axis")
            yield tag("text", text, x=x, y=height + 17, class_="tick middle")
        yield tag("line", x1="0%", x2="100%", y1=height, y2=height, class_="axis")
        yield tag("text", self.y.title, x=0, dx=-48, y=-14, class_="title")
        yield tag("text", self.x.title, x="100%", y=height + 36, class_="title end")

    def _path(self, d: str, of: str) -> None:
        self._paths.append(tag("path", d=d, class_=of))

    def _x(self, value: float) -> float:
        return 100.0 * self.x.scale.at(value)

    def _y(self, value: float) -> float:
        return self.height_px * (1.0 - self.y.scale.at(value))

    def _at(self, point: Point) -> str:
        return f"{self._x(point[0]) * STRETCH / 100:.1f} {self._y(point[1]):.1f}"


def frame(
    ident: str, title: str, description: str, inside: Iterable[Markup], height_px: int
) -> Markup:
    """An svg as wide as its box, named and described for those who cannot see it."""
    return tag(
        "svg",
        tag("title", title, id=f"{ident}-title"),
        tag("desc", description, id=f"{ident}-desc"),
        join(inside),
        role="img",
        aria_labelledby=f"{ident}-title {ident}-desc",
        width="100%",
        height=height_px,
        class_="chart",
    )
