from __future__ import annotations

import pytest

from recstack.report.markup import Markup, escape, join, tag


def test_text_is_escaped_once_and_markup_never() -> None:
    inner = tag("b", '1 < 2 & "3"')
    assert inner == "<b>1 &lt; 2 &amp; &quot;3&quot;</b>"
    assert tag("p", inner, " <i>", None) == f"<p>{inner} &lt;i&gt;</p>"
    assert isinstance(join([inner, "<"], between=", "), Markup)


def test_plain_strings_made_from_markup_are_escaped_again() -> None:
    assert escape(tag("b") + "") == "&lt;b&gt;&lt;/b&gt;"


@pytest.mark.parametrize("text", ["\x00", "\x1b", "\ud800", "\uffff", "\x85"])
def test_what_html_cannot_hold_is_replaced(text: str) -> None:
    assert escape(f"a{text}b") == "a\ufffdb"


def test_attributes() -> None:
    got = tag("g", class_="a", aria_label='"><script>', x=1.0, y=2.346, on=True, off=False, no=None)
    label = "&quot;&gt;&lt;script&gt;"
    assert got == f'<g class="a" aria-label="{label}" x="1" y="2.35" on=""></g>'
