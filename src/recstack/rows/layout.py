"""Scaled rows to and from the other layout in use."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import ConfigError
from recstack.rows.format import RowFormat

Bytes = NDArray[np.uint8]


class RowLayout(StrEnum):
    """Where a scaled row has its scale and bias.

    behind: behind the values, float32 for int8 and float16 for int4 and int2. Torch's prepack
        operators, FBGEMM's fused row-wise operators, and recstack's own.
    front: before the values, float16 always; rows padded with zeros to a whole number of
        `alignment` bytes (1 on CPUs, 16 on GPUs). FBGEMM's table-batched embeddings
        (`IntNBitTableBatchedEmbeddingBagsCodegen`).
    """

    BEHIND = "behind"
    FRONT = "front"


def to_layout(
    stored: Bytes, format: RowFormat, dim: int, layout: RowLayout, *, alignment: int = 1
) -> Bytes:
    """Scaled rows (rows, bytes) uint8 of recstack as `layout` has them, a copy unless it is ours.

    Scale and bias of int8 are rounded to float16 on the way to `front`, as FBGEMM does. Raises
    ConfigError for a format without scale, or where one does not fit in a float16.
    """
    _check(stored, format, format.row_bytes(dim))
    if layout is RowLayout.BEHIND:
        return stored
    split = format.values_bytes(dim)
    with np.errstate(over="ignore"):
        scales = np.ascontiguousarray(stored[:, split:]).view(format.tail).astype(np.float16)
    if (bad := np.flatnonzero(~np.isfinite(scales).all(1))).size:
        raise ConfigError(f"expected a scale and bias that float16 holds - at row {bad[0]}")
    out = np.zeros((len(stored), _front_bytes(format, dim, alignment)), np.uint8)
    out[:, :4] = scales.view(np.uint8)
    out[:, 4 : 4 + split] = stored[:, :split]
    return out


def from_layout(
    rows: Bytes, format: RowFormat, dim: int, layout: RowLayout, *, alignment: int = 1
) -> Bytes:
    """Scaled rows (rows, bytes) uint8 in `layout` as recstack has them; exact.

    Raises ConfigError for a format without scale or rows of another size.
    """
    if layout is RowLayout.BEHIND:
        _check(rows, format, format.row_bytes(dim))
        return rows
    _check(rows, format, _front_bytes(format, dim, alignment))
    split = format.values_bytes(dim)
    out = np.empty((len(rows), format.row_bytes(dim)), np.uint8)
    out[:, :split] = rows[:, 4 : 4 + split]
    scales = np.ascontiguousarray(rows[:, :4]).view(np.float16)
    out[:, split:] = scales.astype(format.tail).view(np.uint8)
    return out


def _front_bytes(format: RowFormat, dim: int, alignment: int) -> int:
    return -(-(4 + format.values_bytes(dim)) // alignment) * alignment


def _check(rows: NDArray[Any], format: RowFormat, row_bytes: int) -> None:
    if not format.scaled:
        raise ConfigError(f"expected int8, int4 or int2 rows, got {format}")
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != row_bytes:
        raise ConfigError(
            f"expected uint8 rows of {row_bytes} bytes, got {rows.dtype} {rows.shape}"
        )
