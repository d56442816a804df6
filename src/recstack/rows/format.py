"""The formats that rows of a table are stored in."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np


class RowFormat(StrEnum):
    """How a row of `dim` values is stored.

    fp32, fp16, bf16: dim numbers; bf16 as uint16, the upper half of a float32.
    int8: dim bytes, then scale and bias as float32; a value is scale * q + bias.
    int4, int2: two or four columns in a byte, the lowest bits the first of them, unused bits 0;
        then scale and bias as float16.

    int8 is what torch's `embedding_bag_byte_prepack` makes, int4 and int2 what
    `embedding_bag_4bit_prepack` and `_2bit_prepack` make (and FBGEMM's fused row-wise operators).

    >>> [RowFormat.INT8.row_bytes(64), RowFormat.INT4.row_bytes(64), RowFormat("fp16").row_bytes(3)]
    [72, 36, 6]
    """

    FP32 = "fp32"
    FP16 = "fp16"
    BF16 = "bf16"
    INT8 = "int8"
    INT4 = "int4"
    INT2 = "int2"

    @property
    def bits(self) -> int:
        """Bits per value, the row's own scale and bias left out."""
        return int(self.value[-2:]) if self.value[-2:].isdigit() else int(self.value[-1])

    @property
    def scaled(self) -> bool:
        """Whether rows carry a scale and a bias."""
        return self in (RowFormat.INT8, RowFormat.INT4, RowFormat.INT2)

    @property
    def tail(self) -> np.dtype[Any]:
        """Of scale and bias, which stand behind the values of a scaled row."""
        return np.dtype(np.float32 if self is RowFormat.INT8 else np.float16)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the stored array (rows, `stored_width(dim)`)."""
        return np.dtype(_DTYPES.get(self, np.uint8))

    @property
    def code(self) -> int:
        """The number that native/kernels/quant/format.h has for it."""
        return list(RowFormat).index(self)

    def values_bytes(self, dim: int) -> int:
        """Bytes of `dim` values without scale and bias."""
        return -(-dim * self.bits // 8)

    def row_bytes(self, dim: int) -> int:
        """Bytes of a row."""
        return self.values_bytes(dim) + (2 * self.tail.itemsize if self.scaled else 0)

    def stored_width(self, dim: int) -> int:
        """Columns of the stored array."""
        return self.row_bytes(dim) // self.dtype.itemsize


_DTYPES = {RowFormat.FP32: np.float32, RowFormat.FP16: np.float16, RowFormat.BF16: np.uint16}
