"""Runs of equal ops as one line: a model with hundreds of tables still fits a screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

LONGEST_PERIOD = 16


class Named(Protocol):
    """What has a name."""

    @property
    def name(self) -> str:
        """The name, on its own."""
        ...


T = TypeVar("T", bound=Named)


def folded(items: Iterable[T], key: Callable[[T], object]) -> Iterator[tuple[str, list[T]]]:
    """Items of one key that follow each other, under the title of all of their names.

    Groups that repeat, such as the layers of eight equal towers, fold too: the first items of all
    groups, then the second ones, and so on.
    """
    given = list(items)
    keys = [key(item) for item in given]
    at = 0
    while at < len(given):
        period, times = _repetition(keys, at)
        for i in range(at, at + period):
            run = given[i : i + period * times : period]
            yield title([item.name for item in run]), run
        at += period * times


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


def _repetition(keys: Sequence[object], at: int) -> tuple[int, int]:
    """Period and count of the repetition from `at` that spans most; of equal ones the shortest."""
    best = (1, 1)
    for period in range(1, LONGEST_PERIOD + 1):
        end = at + period
        while end < len(keys) and keys[end] == keys[end - period]:
            end += 1
        times = (end - at) // period
        if times > 1 and period * times > best[0] * best[1]:
            best = (period, times)
    return best
