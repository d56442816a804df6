"""Runs of equal ops as one line: a model with hundreds of tables still fits a screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Protocol, TypeVar


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """The name, on its own."""
        ...


T = TypeVar("T", bound=Named)


def folded(items: Iterable[T], key: Callable[[T], object]) -> Iterator[tuple[str, list[T]]]:
    """Items of one key that follow each other, under the title of all of their names."""
    for _, group in groupby(items, key):
        run = list(group)
        yield title([item.name for item in run]), run


def title(names: Sequence[str]) -> str:
    """One title for names: a range where they count up, else the first and the last.

    >>> title(["bag_0", "bag_1", "bag_2"]), title(["user", "item"]), title(["top.0"])
    ('bag_[0..2] x 3', 'user .. item x 2', 'top.0')
    """
    if len(names) == 1:
        return names[0]
    for found in re.finditer(r"0(?!\d)|[1-9]\d*", names[0]):
        before, after = names[0][: found.start()], names[0][found.end() :]
        first = int(found.group())
        if all(name == f"{before}{first + i}{after}" for i, name in enumerate(names)):
            return f"{before}[{first}..{first + len(names) - 1}]{after} x {len(names)}"
    return f"{names[0]} .. {names[-1]} x {len(names)}"
