"""Reads a page back: balanced or an error, with its elements and their text."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "link", "img", "input", "hr"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    parent: Element | None
    pieces: list[str] = field(default_factory=list)
    children: list[Element] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All text inside, in order of the document."""
        return "".join(self.pieces)

    def all(self, name: str) -> list[Element]:
        """Elements of a name below this one."""
        found = []
        for child in self.children:
            found += [child] if child.name == name else []
            found += child.all(name)
        return found

    def inside(self, name: str) -> bool:
        return self.parent is not None and (self.parent.name == name or self.parent.inside(name))

    def rows(self) -> list[list[str]]:
        """The cells of a table's body."""
        body = self.all("tbody")[0]
        return [[cell.text for cell in row.children] for row in body.all("tr")]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = self.open = Element("root", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice in {tag}"
        element = Element(tag, dict(attrs), self.open)
        self.open.children.append(element)
        if tag not in VOID:
            self.open = element

    def handle_endtag(self, tag: str) -> None:
        assert self.open.name == tag, f"expected </{self.open.name}>, got </{tag}>"
        assert self.open.parent is not None
        self.open = self.open.parent

    def handle_data(self, data: str) -> None:
        element: Element | None = self.open
        while element:
            element.pieces.append(data)
            element = element.parent


def parse(page: str) -> Element:
    """The root of a page."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert reader.open is reader.root, f"<{reader.open.name}> is never closed"
    return reader.root


def table(root: Element, caption: str) -> list[list[str]]:
    """The rows of the table with this caption."""
    (found,) = [t for t in root.all("table") if t.all("caption")[0].text == caption]
    return found.rows()
