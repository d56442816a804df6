"""A figure: charts, their legend, and below them the table of their numbers; and plain tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from recstack.report.markup import Markup, join, tag
from recstack.report.svg.marks import Key, legend
from recstack.report.text import badge

Rows = Sequence[Sequence[str]]


def figure(
    heading: str,
    caption: str,
    chart: Markup,
    numbers: Markup,
    origins: Collection[str],
    keys: Sequence[Key] = (),
) -> Markup:
    """A figure. numbers: a table of what the chart shows."""
    return tag(
        "figure",
        tag("h3", heading, " ", badge(*origins)),
        legend(list(keys)) if keys else None,
        chart,
        tag("figcaption", caption) if caption else None,
        tag("details", tag("summary", "Numbers"), numbers),
    )


def table(caption: str, columns: Sequence[str], rows: Rows, text: Collection[int] = (0,)) -> Markup:
    """A table that scrolls sideways where it must.

    caption: for those who cannot see it. text: columns that are words, not numbers; the first
    column names its row.
    """

    def side(column: int) -> str | None:
        return None if column in text else "n"

    head = tag("tr", *(tag("th", c, scope="col", class_=side(i)) for i, c in enumerate(columns)))
    body = (
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_=side(i)) for i, cell in enumerate(row[1:], start=1)),
        )
        for row in rows
    )
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Names and values."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs))


def section(ident: str, heading: str, *children: Markup | None) -> Markup:
    """A section of the page; nothing where there is nothing to say."""
    inside = join(children)
    return tag("section", tag("h2", heading), inside, id=ident) if inside else inside
