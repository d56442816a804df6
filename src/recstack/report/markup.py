"""HTML and SVG as strings that cannot be unsafe by accident: `tag` escapes all but `Markup`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Neither XML nor HTML can hold these; a lone surrogate cannot be encoded at all.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already; only this module and constants make it."""

    __slots__ = ()


Child = str | None
Value = str | float | bool | None


def escape(text: str) -> Markup:
    """Text as markup, unless it is markup; what HTML cannot hold becomes U+FFFD.

    >>> escape("<b>")
    '&lt;b&gt;'
    """
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", text), quote=True))


def tag(name: str, *children: Child, **attributes: Value) -> Markup:
    """An element; children are escaped, None is left out, and so is an attribute of None or False.

    `class_` is class, and other underscores are hyphens.

    >>> tag("text", "a < b", class_="tick", text_anchor="end", x=1.50)
    '<text class="tick" text-anchor="end" x="1.5">a &lt; b</text>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(children: Iterable[Child], between: str = "") -> Markup:
    """Escaped children, one after another."""
    return Markup(escape(between).join(escape(c) for c in children if c is not None))


def _value(value: Value) -> str:
    if value is True:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
