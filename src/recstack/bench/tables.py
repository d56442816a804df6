"""Tables of one width seen as one, without a copy, where they lie in one allocation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def whole(tables: Sequence[Floats]) -> tuple[Floats, list[int]] | None:
    """One array (rows, dim) that holds all `tables` (n, dim), and the row where each begins.

    A view of the memory that they share, with whatever lies between them; None where they lie in
    different allocations, or not a whole number of rows apart.
    """
    owner, addresses = _owner(tables[0]), [_address(t) for t in tables]
    row_bytes = tables[0].shape[1] * 4
    low = min(addresses)
    high = max(a + t.nbytes for a, t in zip(addresses, tables, strict=True))
    same = all(_owner(t) is owner and t.flags.c_contiguous for t in tables)
    begins = [divmod(a - low, row_bytes) for a in addresses]
    if not same or owner.ndim != 1 or any(rest for _, rest in begins):
        return None
    offset = low - _address(owner)
    shape = ((high - low) // row_bytes, tables[0].shape[1])
    if len(tables) == 1:
        return tables[0], [0]
    return np.ndarray(shape, np.float32, owner, offset), [first for first, _ in begins]


def joined(tables: Sequence[Floats]) -> tuple[Floats, list[int]]:
    """As `whole`, with a copy where there must be one: twice the memory of these tables."""
    found = whole(tables)
    if found is not None:
        return found
    ends = np.cumsum([0, *(len(t) for t in tables)])
    return np.concatenate(tables), [int(end) for end in ends[:-1]]


def writable(array: NDArray[Any]) -> NDArray[Any]:
    """`array`, on the same memory, offered as writable to a library that has no read-only tensors.

    Nothing may write to it. It keeps `array` alive.
    """
    return array if array.flags.writeable else np.asarray(_Offered(array))


class _Offered:
    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (_address(array), False)}


def _owner(array: NDArray[Any]) -> NDArray[Any]:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
