"""Bringing tensors with and without a batch axis to one layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recstack.model.importing.builder import Builder
from recstack.model.importing.values import (
    Columns,
    Const,
    Merged,
    MixesRows,
    Rows,
    Steps,
    Unsupported,
    Value,
    rank,
)


@dataclass(frozen=True, slots=True)
class Aligned:
    """Names of values whose entries broadcast together, and the layout of the result."""

    names: tuple[str, ...]
    axis: int
    merged: Merged

    def wrap(self, b: Builder, name: str) -> Rows:
        """The result `name` in this layout."""
        return Rows(name, b.shapes[name], self.axis, self.merged)


def scalar(v: Value) -> float | None:
    """The number that `v` is, or holds as its only element."""
    if isinstance(v, bool | int | float):
        return float(v)
    if isinstance(v, Const) and v.tensor.numel() == 1:
        return float(v.tensor)
    return None


def align(b: Builder, values: Sequence[Value]) -> Aligned:
    """All of `values` as values whose entries broadcast as the tensors do."""
    rows = [b.rows(v) for v in values if isinstance(v, Rows | Columns)]
    if not rows or any(isinstance(v, Steps) for v in values):
        raise Unsupported("expected a tensor with a batch axis")
    places = {rank(r) - 1 - r.axis for r in rows}
    if len(places) > 1:
        raise MixesRows("combines every row with every other row")
    if len({r.merged for r in rows}) > 1:
        raise Unsupported("combines a tensor that merges the batch axis with one that does not")
    right, merged = places.pop(), rows[0].merged
    ranks = [v.tensor.ndim if isinstance(v, Const) else 0 for v in values]
    widest = max([rank(r) for r in rows] + ranks)
    names = []
    for v in values:
        if isinstance(v, Rows | Columns):
            names.append(b.rows(v).name)
        else:
            names.append(constant_beside(b, v, right, merged))
    return Aligned(tuple(names), widest - 1 - right, merged)


def constant_beside(b: Builder, v: Value, right: int, merged: Merged) -> str:
    """A constant as a value; `right` is how many axes stand right of the batch axis."""
    if not isinstance(v, Const):
        number = scalar(v)
        if number is None:
            raise Unsupported(f"expected a tensor or a number, got {type(v).__name__}")
        return b.number(number)
    t = v.tensor
    if t.ndim > right:
        at = t.ndim - 1 - right
        if t.shape[at] != 1:
            raise MixesRows("combines rows with a constant of the batch size")
        ones = [1] * merged.count
        t = t.reshape(*t.shape[:at], *ones, *t.shape[at + 1 :]) if len(ones) != 1 else t
    return b.constant(Const(t, v.name if t is v.tensor else None))


def binary(b: Builder, fn: str, one: Value, two: Value) -> Rows:
    """fn(one, two), each a tensor or a number."""
    for v, other, first in ((two, one, False), (one, two, True)):
        number = scalar(v)
        small = not isinstance(v, Const) or v.tensor.ndim <= rank_of(other)
        if number is not None and small and isinstance(other, Rows | Columns):
            x = b.rows(other)
            return b.like(x, b.binary(fn, x.name, number, first))
    both = align(b, [one, two])
    return both.wrap(b, b.binary(fn, both.names[0], both.names[1]))


def rank_of(v: Value) -> int:
    """Number of axes of a tensor."""
    return (
        rank(v) if isinstance(v, Rows | Columns) else v.tensor.ndim if isinstance(v, Const) else 0
    )
