"""Tables to stored rows and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import RowError
from recstack.rows.definition import dequantise_reference, quantise_reference
from recstack.rows.format import RowFormat

Floats = NDArray[np.float32]


def quantise(table: Floats, format: RowFormat, *, greedy: bool = True) -> NDArray[Any]:
    """`table` (rows, dim) float32 in `format`: (rows, format.stored_width(dim)).

    greedy: search int4 and int2 ranges for each row's least L2 error; else minimum to maximum.

    Raises RowError for the first row that `format` cannot hold: a value that is not finite or, for
    fp16, bf16, or as the scale or bias of a row, too large.
    """
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(1))[0])
        raise _unfit(table, row, format)
    with np.errstate(over="ignore"):
        return quantise_reference(table, format, greedy=greedy)


def dequantise(stored: NDArray[Any], format: RowFormat, dim: int) -> Floats:
    """The values (rows, dim) float32 of rows stored in `format`."""
    return dequantise_reference(stored, format, dim).astype(np.float32)


def _unfit(table: Floats, row: int, format: RowFormat) -> RowError:
    """Why `row` does not fit."""
    values = table[row]
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        return RowError(f"expected finite values, got {values[bad[0]]} in column {bad[0]}", row)
    span = f"{values.min():.6g} to {values.max():.6g}"
    return RowError(f"expected values that {format} can hold, got {span}", row)
