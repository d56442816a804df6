"""Arrays of the reference: float64, one entry per index of axis 0, entry shapes behind it."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recstack.model.model import Weights

Array = NDArray[np.float64]
Scope = Literal["user", "item", "const"]
LARGEST = float(np.finfo(np.float32).max)


def wide(weights: Weights, name: str) -> Array:
    """The weight `name` as float64."""
    return weights[name].astype(np.float64)


def rounded(scalar: float) -> float:
    """A scalar operand as float32 holds it: values are float32, and comparisons must agree."""
    return float(np.float32(scalar))


def in_float32_range(array: Array) -> Array:
    """`array` with what float32 cannot hold as the infinity that it is there."""
    beyond = np.abs(array) > LARGEST
    return np.where(beyond, np.copysign(np.inf, array), array) if beyond.any() else array


def entry_axis(axis: int, rank: int) -> int:
    """An axis of an entry shape of `rank` axes as an axis of the whole array."""
    return axis % rank + 1


def align(arrays: Sequence[Array], rank: int = 0) -> list[Array]:
    """Arrays with entry shapes of one rank: size-1 axes go in behind axis 0, as NumPy pads shapes.

    `rank` is the least rank of the result's entry shapes.
    """
    rank = max([rank, *(a.ndim - 1 for a in arrays)])
    return [a.reshape(a.shape[0], *(1,) * (rank + 1 - a.ndim), *a.shape[1:]) for a in arrays]


def flat(array: Array) -> Array:
    """(entries, elements), also when there are no entries."""
    return array.reshape(array.shape[0], prod(array.shape[1:]))


def to_scope(array: Array, scope: Scope, wanted: Scope, offsets: NDArray[Any]) -> Array:
    """The array of a `scope` value with one entry per entry of `wanted`.

    offsets: (Q + 1,), the batch's query_offsets. User values are repeated for each row of their
    query; const values (one entry) are broadcast.
    """
    if scope == wanted:
        return array
    if scope == "user":
        return np.repeat(array, np.diff(offsets), axis=0)
    entries = int(offsets[-1]) if wanted == "item" else offsets.size - 1
    return np.broadcast_to(array, (entries, *array.shape[1:]))
