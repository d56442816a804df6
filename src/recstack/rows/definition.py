"""What quantising and dequantising mean, in NumPy: the native kernels give the same bits.

Range of a row: its minimum and maximum, or what the greedy search finds for int4 and int2. Bias is
the minimum, for int4 and int2 rounded to float16 first, so that all else allows for its rounding:

    int8         scale = range / 255; q = round((x - bias) * (255 / (range + 1e-8)))
    int4, int2   scale = float16(range / (2^bits - 1)), 1 where that is 0 or beyond 1 / float32's
                 largest; q = round((x - bias) * (1 / scale)), cut to 0 .. 2^bits - 1

in float32, halves to even; as FBGEMM and torch, bit for bit. An int8 value is off by at most
scale / 2 + 1e-8 and float32's rounding. An int4 or int2 value between bias and
bias + (2^bits - 1) * scale is off by at most scale / 2; one outside becomes the nearer of these two
ends. From minimum to maximum, only the float16 rounding of bias and scale puts values outside; the
greedy search does so on purpose, by up to 16% of the row's range, where that makes the row's
sum of squared errors smaller.

Greedy search (torch's `optimized_qparams`, 200 bins, 16%; after "Post-Training 4-bit Quantization
on Embedding Tables", arXiv 1911.02079): from the whole range, give up the bin of 1/200 at that end
where it costs less, as long as 168 bins are left; keep the best local minimum on the way of
sqrt(sum (x - dequantised)^2), summed in float32 in column order. It also ends where a step is too
small to move either end, which torch repeats for ever.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.rows.format import RowFormat

Floats = NDArray[np.float32]
F = np.float32
BINS, KEPT_BINS = F(200), F(168)


def dequantise_reference(stored: NDArray[Any], format: RowFormat, dim: int) -> NDArray[np.float64]:
    """The values (rows, dim) float64 that rows stored in `format` stand for, exactly."""
    if format is RowFormat.BF16:
        return (stored.astype(np.uint32) << np.uint32(16)).view(F).astype(np.float64)
    if not format.scaled:
        return stored.astype(np.float64)
    split = format.values_bytes(dim)
    tail = np.ascontiguousarray(stored[:, split:]).view(format.tail).astype(np.float64)
    shifts = np.arange(0, 8, format.bits, dtype=np.uint8)
    q = stored[:, :split, None] >> shifts & np.uint8((1 << format.bits) - 1)
    q = q.reshape(len(stored), split * shifts.size)[:, :dim]
    return tail[:, :1] * q + tail[:, 1:]


def quantise_reference(table: Floats, format: RowFormat, *, greedy: bool = True) -> NDArray[Any]:
    """`table` (rows, dim) float32, finite, in `format`: (rows, format.stored_width(dim))."""
    if format is RowFormat.FP32:
        return table
    if format is RowFormat.FP16:
        return table.astype(np.float16)
    if format is RowFormat.BF16:
        bits = table.view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    if format is RowFormat.INT8:
        low, high = _low(table)[:, None], table.max(1, keepdims=True)
        inverse = F(255) / ((high - low) + F(1e-8))
        return _packed(np.rint((table - low) * inverse), (high - low) / F(255), low, format)
    low, high = greedy_range(table, format) if greedy else (_low(table), table.max(1))
    bias = low[:, None].astype(np.float16)
    with np.errstate(over="ignore", divide="ignore"):
        scale = _scale(bias, high[:, None], format)
        scale = np.where((scale == 0) | np.isinf(F(1) / scale), F(1), scale)
    return _packed(_quantised(table, bias, scale, format), scale, bias, format)


def greedy_range(table: Floats, format: RowFormat) -> tuple[Floats, Floats]:
    """The range (rows,), (rows,) of each row that the search settles on."""
    low, high = _low(table), table.max(1)
    best_low, best_high = low.copy(), high.copy()
    step = (high - low) / BINS
    loss = _loss(table, low, high, format)
    best = loss.copy()
    searching = np.ones(low.shape, bool)
    while (searching := searching & (low + KEPT_BINS * step < high)).any():
        left = _loss(table, low + step, high, format)
        right = _loss(table, low, high - step, format)
        better = searching & (loss < left) & (loss < right) & (loss < best)
        best = np.where(better, loss, best)
        best_low, best_high = np.where(better, low, best_low), np.where(better, high, best_high)
        leftwards = left < right
        loss = np.where(searching, np.where(leftwards, left, right), loss)
        further = np.where(searching & leftwards, low + step, low)
        nearer = np.where(searching & ~leftwards, high - step, high)
        searching &= (further != low) | (nearer != high)
        low, high = further, nearer
    return best_low, best_high


def _low(table: Floats) -> Floats:
    """The least value of each row; a zero has no sign."""
    low: Floats = table.min(1) + F(0)
    return low


def _scale(bias: NDArray[np.float16], high: Floats, format: RowFormat) -> Floats:
    """float16(range / (2^bits - 1)), 1 for no range."""
    span = high - bias.astype(F)
    scale = (span / F((1 << format.bits) - 1)).astype(np.float16).astype(F)
    return np.where(span == 0, F(1), scale)


def _quantised(
    table: Floats, bias: NDArray[np.float16], scale: Floats, format: RowFormat
) -> Floats:
    q = np.rint((table - bias.astype(F)) * (F(1) / scale))
    return np.clip(q, F(0), F((1 << format.bits) - 1))


def _loss(table: Floats, low: Floats, high: Floats, format: RowFormat) -> Floats:
    bias = low[:, None].astype(np.float16)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        scale = _scale(bias, high[:, None], format)
        q = _quantised(table, bias, np.where(scale == 0, F(1), scale), format)
        error = table - (q * scale + bias.astype(F))
        total: Floats = np.sqrt(np.add.accumulate(error * error, axis=1)[:, -1])
    return total


def _packed(
    q: Floats, scale: NDArray[Any], bias: NDArray[Any], format: RowFormat
) -> NDArray[np.uint8]:
    per_byte = 8 // format.bits
    columns = np.zeros((len(q), -(-q.shape[1] // per_byte) * per_byte), np.uint8)
    columns[:, : q.shape[1]] = q
    shifts = np.arange(0, 8, format.bits, dtype=np.uint8)
    grouped = columns.reshape(len(q), -1, per_byte) << shifts
    values = np.bitwise_or.reduce(grouped, axis=2).astype(np.uint8)
    tail = np.concatenate([scale, bias], axis=1).astype(format.tail)
    return np.concatenate([values, tail.view(np.uint8)], axis=1)
