"""Tables to stored rows and back, natively: the definition's bits at memory speed."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.errors import ConfigError, RowError
from recstack.rows.format import RowFormat

Floats = NDArray[np.float32]


def quantise(
    table: Floats,
    format: RowFormat,
    *,
    greedy: bool = True,
    out: NDArray[Any] | None = None,
    isa: str = "auto",
    threads: int | None = None,
) -> NDArray[Any]:
    """`table` (rows, dim) float32 in `format`: (rows, format.stored_width(dim)).

    greedy: search int4 and int2 ranges for each row's least L2 error; else minimum to maximum.
    out: where the result goes, if given.
    isa: an instruction set; "auto": the fastest here. All give the same bits, and so does any
        number of threads (None: all processors).

    Raises RowError for the first row that `format` cannot hold: a value that is not finite or, for
    fp16, bf16, or in the scale or bias of a row, too large.

    >>> stored = quantise(np.array([[0, 1, 2, 15]], np.float32), RowFormat.INT4)
    >>> stored.shape, dequantise(stored, RowFormat.INT4, 4).tolist()
    ((1, 6), [[0.0, 1.0, 2.0, 15.0]])
    """
    if table.dtype != np.float32 or table.ndim != 2:
        raise ConfigError(f"expected a table (rows, dim) float32, got {table.dtype} {table.shape}")
    table = np.ascontiguousarray(table)
    shape = (len(table), format.stored_width(table.shape[1]))
    if out is None:
        out = np.empty(shape, format.dtype)
    elif out.shape != shape or out.dtype != format.dtype or not out.flags.c_contiguous:
        raise ConfigError(
            f"expected {shape} {format.dtype}, got {out.shape} {out.dtype} - at `out`"
        )
    bad = _native.quantise_rows(
        table, format.code, greedy, _bytes(out), _isa(isa), threads or os.cpu_count() or 1
    )
    if bad >= 0:
        raise _unfit(table[bad], bad, format)
    return out


def dequantise(
    stored: NDArray[Any],
    format: RowFormat,
    dim: int,
    *,
    isa: str = "auto",
    threads: int | None = None,
) -> Floats:
    """The values (rows, dim) float32 of rows (rows, format.stored_width(dim)) stored in `format`.

    scale * q + bias is rounded once, in the set `scalar` twice.
    """
    width = format.stored_width(dim)
    if stored.dtype != format.dtype or stored.shape[1:] != (width,):
        got = f"{stored.dtype} {stored.shape}"
        raise ConfigError(f"expected {format} rows (rows, {width}) {format.dtype}, got {got}")
    out = np.empty((len(stored), dim), np.float32)
    rows = _bytes(np.ascontiguousarray(stored))
    _native.dequantise_rows(rows, format.code, out, _isa(isa), threads or os.cpu_count() or 1)
    return out


def _bytes(stored: NDArray[Any]) -> NDArray[np.uint8]:
    rows, width = stored.shape
    return stored.view(np.uint8).reshape(rows, width * stored.itemsize)


def _isa(isa: str) -> str:
    sets = [name for name, supported in _native.instruction_sets() if supported]
    if isa != "auto" and isa not in sets:
        raise ConfigError(f"expected one of {', '.join(sets)}, got {isa!r}")
    return sets[-1] if isa == "auto" else isa


def _unfit(values: Floats, row: int, format: RowFormat) -> RowError:
    """Why a row does not fit."""
    if (bad := np.flatnonzero(~np.isfinite(values))).size:
        return RowError(f"expected finite values, got {values[bad[0]]} in column {bad[0]}", row)
    span = f"{values.min():.6g} to {values.max():.6g}"
    return RowError(f"expected values that {format} can hold, got {span}", row)
