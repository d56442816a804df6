"""Markers, and the legend that explains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recstack.report.markup import Markup, join, tag

Shape = Literal["dot", "ring", "cross", "diamond", "frame", "tick", "up"]
Swatch = Shape | Literal["line", "limit", "band", "bar"]
SERIES = 5
"""Colours of the palette, s0 to s4 in style.css: as many series as one chart may have."""

_PATHS: dict[Shape, str] = {
    "dot": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "ring": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "cross": "M-4-4L4 4M-4 4L4-4",
    "diamond": "M0-5.5L5.5 0L0 5.5L-5.5 0z",
    "frame": "M0-8L8 0L0 8L-8 0z",
    "tick": "M0-8V8",
    "up": "M-5 4L0-5L5 4z",
}


def glyph(shape: Shape) -> Markup:
    """A marker around (0, 0); filled or stroked by its class."""
    return tag("path", d=_PATHS[shape], class_=f"mark {shape}")


def mark(x_percent: float, y_px: float, shape: Shape, of: str, title: str = "") -> Markup:
    """A marker of a series; title: shown when pointed at."""
    inside = [tag("title", title) if title else None, glyph(shape)]
    return tag("svg", *inside, x=f"{x_percent:.3f}%", y=float(y_px), overflow="visible", class_=of)


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend."""

    swatch: Swatch
    of: str
    text: str


def legend(keys: list[Key]) -> Markup:
    """A legend as a wrapping list; it is text beside the chart, so nothing can overlap."""
    return tag("ul", *(_entry(key) for key in keys), class_="legend")


def _entry(key: Key) -> Markup:
    icon = tag(
        "svg",
        _swatch(key.swatch),
        class_=key.of,
        width=24,
        height=18,
        viewBox="0 -3 24 18",
        aria_hidden="true",
    )
    return tag("li", icon, " ", key.text)


def _swatch(swatch: Swatch) -> Markup:
    match swatch:
        case "line" | "limit":
            return tag("line", x1=1, x2=23, y1=6, y2=6, class_=swatch)
        case "band":
            return tag("rect", x=1, y=1, width=22, height=10, class_="band")
        case "bar":
            return tag("rect", x=1, y=2, width=22, height=8, class_="bar")
        case _:
            return join([tag("g", glyph(swatch), transform="translate(12 6)")])
