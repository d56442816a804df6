"""int8 layers by definition: native/kernels/gemm8/gemm8.h in NumPy, float32 as rounded there.

Integers are exact and every float32 operation is rounded once, in the order given there: what this
module gives is the kernels' result bit for bit (sigmoid and tanh: to their own few ulp).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.engine.precision import ActivationRange, LayerPrecision
from recstack.engine.reference.dense import activate

Floats = NDArray[np.float32]
SMALLEST_SCALE = np.float32(2.0**-120)


@dataclass(frozen=True, slots=True)
class QuantisedWeights:
    """values (n, k) int8, 0 in outlier columns; scale (n,) float32, NaN for a row not finite."""

    values: NDArray[np.int8]
    scale: Floats


@dataclass(frozen=True, slots=True)
class QuantisedRows:
    """values (rows, k) uint8; step, zero (rows,) float32: x is about step * (values - zero).

    A row that is not finite has step NaN.
    """

    values: NDArray[np.uint8]
    step: Floats
    zero: Floats

    def dequantised(self) -> Floats:
        """(rows, k) float32."""
        centred = self.values.astype(np.float32) - self.zero[:, None]
        return np.asarray(centred * self.step[:, None], np.float32)


@np.errstate(all="ignore")
def quantise_weights(weight: Floats, outliers: Sequence[int] = ()) -> QuantisedWeights:
    """Symmetric s8 of `weight` (n, k), a scale per output; `outliers` are columns left out."""
    main = weight.astype(np.float32)
    main[:, list(outliers)] = 0
    finite = np.asarray(np.isfinite(main).all(axis=1))
    largest = np.abs(np.where(finite[:, None], main, 0)).max(axis=1, initial=0)
    scale = (largest / np.float32(127)).astype(np.float32)
    scale[scale < SMALLEST_SCALE] = 0
    divided = np.divide(main, scale[:, None], where=(scale > 0)[:, None], out=np.zeros_like(main))
    values = np.clip(np.rint(divided), -127, 127).astype(np.int8)
    scale[~finite] = np.nan
    return QuantisedWeights(values, scale)


@np.errstate(all="ignore")
def quantise_rows(
    x: Floats, given: ActivationRange | None = None, outliers: Sequence[int] = ()
) -> QuantisedRows:
    """Affine u8 of `x` (rows, k), over `given` or over each row's own values and 0."""
    finite = np.asarray(np.isfinite(x).all(axis=1))
    main = np.delete(np.where(finite[:, None], x, np.float32(0)), list(outliers), axis=1)
    if given is None:
        low, high = main.min(axis=1, initial=0), main.max(axis=1, initial=0)
    else:
        low = np.full(len(x), min(given.low, 0.0), np.float32)
        high = np.full(len(x), max(given.high, 0.0), np.float32)
    low, high = low.astype(np.float32), high.astype(np.float32)
    step = high / np.float32(255) - low / np.float32(255)
    inverse = np.where(step < SMALLEST_SCALE, np.float32(0), np.float32(1) / step)
    zero = np.rint(np.clip(-low * inverse, np.float32(0), np.float32(255)))
    bounds = -zero[:, None], np.float32(255) - zero[:, None]
    scaled = np.nan_to_num(x * inverse[:, None], nan=0, posinf=np.inf, neginf=-np.inf)
    values = np.rint(np.clip(scaled, *bounds)) + zero[:, None]
    step = np.where(finite, step, np.float32(np.nan)).astype(np.float32)
    return QuantisedRows(values.astype(np.uint8), step, zero.astype(np.float32))


@np.errstate(all="ignore")
def linear_int8(
    x: Floats,
    weight: Floats,
    bias: Floats | None = None,
    activation: str = "none",
    precision: LayerPrecision | None = None,
    start: Floats | None = None,
) -> Floats:
    """activation(start + x @ weight.T + bias), (rows, n) float32, as the kernels have it.

    x: (rows, k). start: (rows, n) or None. precision: its range and outliers; None has neither.
    """
    precision = precision or LayerPrecision("int8")
    outliers = precision.outliers
    w, q = quantise_weights(weight, outliers), quantise_rows(x, precision.activations, outliers)
    centred = q.values.astype(np.float64) - q.zero[:, None]
    sums = centred @ w.values.T.astype(np.float64)  # below 2^53: exact
    y = sums.astype(np.float32) * (q.step[:, None] * w.scale)
    if start is not None:
        y = start + y
    for o in outliers:
        y = y + x[:, o, None] * weight[:, o]
    if bias is not None:
        y = y + bias
    return np.asarray(activate(y, activation), np.float32)


@np.errstate(all="ignore")
def folded_int8(
    query: Floats,
    keys: Floats,
    weight: Floats,
    product: Floats | None,
    added: Floats | None = None,
    precision: LayerPrecision | None = None,
) -> Floats:
    """A unit's first layer before its activation, (rows, L, n): unit.h of native/kernels/seq.

    query (rows, d); keys (rows, L, d); weight, product (n, d); added (rows, n), its bias.
    """
    made = []
    for r in range(len(query)):
        w = weight if product is None else weight + product * query[r]
        bias = None if added is None else added[r]
        made.append(linear_int8(keys[r], w, bias, precision=precision))
    return np.asarray(made, np.float32).reshape(*keys.shape[:2], len(weight))
