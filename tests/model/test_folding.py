from __future__ import annotations

from dataclasses import dataclass

import pytest

from recstack.model.folding import folded, title


@dataclass(frozen=True)
class Item:
    name: str
    key: str


def fold(text: str) -> list[str]:
    """Items of one letter each, named by letter and place."""
    items = [Item(f"{letter}{i}", letter) for i, letter in enumerate(text)]
    return [name for name, _ in folded(items, lambda item: item.key)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a", ["a0"]),
        ("aaab", ["a[0..2] x 3", "b3"]),
        ("abc", ["a0", "b1", "c2"]),
        ("abab", ["a0 .. a2 x 2", "b1 .. b3 x 2"]),
        ("xababy", ["x0", "a1 .. a3 x 2", "b2 .. b4 x 2", "y5"]),
        ("aabaab", ["a0 .. a3 x 2", "a1 .. a4 x 2", "b2 .. b5 x 2"]),
        ("ababa", ["a0 .. a2 x 2", "b1 .. b3 x 2", "a4"]),
        ("aaaaa", ["a[0..4] x 5"]),
    ],
)
def test_repetitions(text: str, expected: list[str]) -> None:
    assert fold(text) == expected


def test_no_item_is_lost() -> None:
    items = [Item(str(i), "abcabcabbbbacac"[i]) for i in range(15)]
    found = [item.name for _, run in folded(items, lambda item: item.key) for item in run]
    assert sorted(found, key=int) == [str(i) for i in range(15)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["t_0.1", "t_1.1"], "t_[0..1].1 x 2"),
        (["t_1.9", "t_1.10"], "t_1.[9..10] x 2"),
        (["a_01", "a_02"], "a_0[1..2] x 2"),
        (["a_1", "a_3"], "a_1 .. a_3 x 2"),
        (["same", "same"], "same .. same x 2"),
    ],
)
def test_titles(names: list[str], expected: str) -> None:
    assert title(names) == expected
