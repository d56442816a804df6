"""What a node of an exported graph stands for while it is imported.

A tensor with a batch axis is laid out over an *entry*, its shape without that axis. `axis` says
where the batch axis stands, so a (L, B, d) tensor has entry (L, d) and axis 1; a `merged` batch
axis also holds entry axes beside it, so (B * L, d) has entry (L, d), axis 0, and one axis merged
after the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.model.ops.base import Shape


class Unsupported(Exception):
    """A translator does not cover this call; torch runs it instead, where that is possible."""


class MixesRows(Exception):
    """The call mixes rows of a batch, which no engine that tiles rows can run."""


@dataclass(frozen=True, slots=True)
class BatchDim:
    """A symbolic size: `times` the batch size."""

    times: int


@dataclass(frozen=True, slots=True)
class OtherDim:
    """A symbolic size that is no multiple of the batch size, such as a number of values."""

    text: str


Dim = int | BatchDim | OtherDim


@dataclass(frozen=True, slots=True)
class Merged:
    """How many entry axes (each 0 or 1) the batch axis holds before and after the batch itself."""

    before: int = 0
    after: int = 0

    def __bool__(self) -> bool:
        return self.count > 0

    @property
    def count(self) -> int:
        """Entry axes in the batch axis."""
        return self.before + self.after


ALONE = Merged()
CELL = 4
TRUNCATED, CLAMPED, TRUTH, FLOATS = 1, 2, 4, 8


@dataclass(frozen=True, eq=False)
class Const:
    """A tensor without a batch axis; `name` is its name in the state dict, if it has one."""

    tensor: Any
    name: str | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """A tensor with a batch axis: the value `name` of the model under construction.

    dtype: torch's name of the tensor's type; the value itself holds float32. A complex tensor's
    value has a last axis (2,) that `shape` leaves out.
    """

    name: str
    shape: Shape
    axis: int = 0
    merged: Merged = ALONE
    dtype: str = "float32"

    @property
    def whole(self) -> bool:
        """Whether the tensor holds integers or truth values."""
        return self.dtype.startswith(("int", "uint", "bool"))


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of the module's arguments, not yet decided to be indices or numbers.

    cells: (*entry, CELL) int64: number of the argument, column in it, offset added to it, and what
        is done before that (TRUNCATED) and after it (CLAMPED at 0), or known of it (TRUTH values;
        FLOATS that are whole). Indices need none of these: they are whole numbers >= 0.
    integer: the tensor holds integers (by its own type, or after `.long()`).
    """

    cells: NDArray[np.int64]
    integer: bool
    axis: int = 0
    merged: Merged = ALONE

    @property
    def shape(self) -> Shape:
        """The entry's shape."""
        return self.cells.shape[:-1]

    def is_all(self, flag: int) -> bool:
        """Whether every cell has the flag."""
        return bool((self.cells[..., 3] & flag).all())

    def marked(self, flag: int, on: bool = True) -> Columns:
        """The same with the flag set, or cleared, in every cell."""
        cells = self.cells.copy()
        cells[..., 3] = cells[..., 3] | flag if on else cells[..., 3] & ~flag
        return replace(self, cells=cells)


@dataclass(frozen=True, slots=True)
class Ragged:
    """The whole of a ragged argument; `row` selects one of several stacked ones."""

    argument: int
    row: int | None = None


@dataclass(frozen=True, eq=False)
class PerIndex:
    """A number for each index of a ragged argument: `numbers` (rows,) at that index."""

    numbers: Const
    indices: Ragged


@dataclass(frozen=True, slots=True)
class Steps:
    """arange(0, step * B, step): offsets of bags of `step` indices, or row numbers."""

    step: int


Laid = Rows | Columns
Value = Any  # one of the above, a Dim, a Python scalar, None, or a tuple of values


def rank(v: Laid) -> int:
    """Number of axes of the tensor, the batch axis included."""
    return len(v.shape) + 1 - v.merged.count


def entry_axis(v: Laid, dim: int) -> int:
    """The entry's axis for axis `dim` of the tensor; MixesRows for the batch axis."""
    dim %= rank(v)
    if dim == v.axis:
        raise MixesRows(f"works along the batch axis {dim}")
    return dim if dim < v.axis else dim - 1 + v.merged.count


def new_axis(v: Laid, dim: int) -> tuple[int, int]:
    """Where a new axis at `dim` of the tensor falls: the entry's axis, and the new batch axis."""
    dim %= rank(v) + 1
    return (dim, v.axis + 1) if dim <= v.axis else (dim - 1 + v.merged.count, v.axis)


def removed(v: Laid, dims: list[int]) -> int:
    """The batch axis once the axes `dims` of the tensor are gone."""
    return v.axis - sum(d % rank(v) < v.axis for d in dims)


def entry_of(dims: tuple[Dim, ...], axis: int) -> Shape:
    """The entry of a tensor of shape `dims` whose batch axis is `axis`."""
    out: list[int] = []
    for i, size in enumerate(dims):
        if i == axis:
            out += [size.times] if isinstance(size, BatchDim) and size.times != 1 else []
        elif isinstance(size, int):
            out.append(size)
        else:
            raise Unsupported(f"axis {i} has a size that depends on the data")
    return tuple(out)


def batch_axis(dims: tuple[Dim, ...]) -> int | None:
    """The axis whose size is a multiple of the batch size, if there is exactly one."""
    found = [i for i, size in enumerate(dims) if isinstance(size, BatchDim)]
    if len(found) > 1:
        raise MixesRows("has the batch size in two axes")
    return found[0] if found else None


def reshaped(v: Laid, dims: tuple[Dim, ...]) -> tuple[Shape, int, Merged]:
    """Entry, axis and merged axes of `v` viewed as a tensor of shape `dims`."""
    before, axis = prod(v.shape[: v.axis + v.merged.before]), batch_axis(dims)
    if axis is None:  # a user tensor of one query: its batch axis has size 1
        fits = [i for i, n in enumerate(dims) if n == 1 and prod(entry_of(dims[:i], -1)) == before]
        if not fits:
            raise Unsupported("a reshape that folds the batch axis into another")
        axis = fits[0]
    left, right = entry_of(dims[:axis], -1), entry_of(dims[axis + 1 :], -1)
    size = dims[axis]
    times, front = size.times if isinstance(size, BatchDim) else 1, before // max(prod(left), 1)
    back = times // max(front, 1)
    if front * prod(left) != before or front * back != times:
        raise Unsupported("a reshape that folds axes across the batch axis")
    inner = tuple(n for n in (front, back) if n != 1)
    entry = (*left, *inner, *right)
    if prod(entry) != prod(v.shape):
        raise Unsupported("a reshape that folds axes across the batch axis")
    return entry, axis, Merged(int(front != 1), int(back != 1))
