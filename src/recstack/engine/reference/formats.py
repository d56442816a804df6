"""What the formats of dense layers round to: the definition that kernels are tested against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.engine.precision import LayerPrecision
from recstack.engine.reference.arrays import Array
from recstack.errors import ConfigError
from recstack.model.model import Weights

Floats = NDArray[np.float32]


def to_bf16(x: NDArray[Any]) -> Floats:
    """`x` rounded to 8 bits of mantissa, to nearest, ties to even, as float32.

    >>> to_bf16(np.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8])).tolist()
    [1.0, 1.0, 1.015625]
    """
    narrow = np.asarray(x, np.float32)
    bits = narrow.view(np.uint32)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1)).astype(np.uint32)) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(narrow), narrow, rounded.view(np.float32))


def to_fp16(x: NDArray[Any]) -> Floats:
    """`x` rounded to fp16, to nearest, ties to even, as float32; past 65504 infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float32).astype(np.float16).astype(np.float32)


def multiply(x: Array, weight: Array, precision: LayerPrecision) -> Array:
    """x @ weight.T of x (..., in) and weight (out, in), rounded as the layer's format rounds."""
    if precision.format == "bf16":
        x, weight = to_bf16(x).astype(np.float64), to_bf16(weight).astype(np.float64)
    elif precision.format == "fp16":
        weight = to_fp16(weight).astype(np.float64)
    elif precision.format == "int8":
        raise ConfigError("expected fp32, bf16 or fp16 in a reference that rounds, got int8")
    return np.asarray(x @ weight.T)


def bf16_chain(x: Floats, weight: Floats) -> Floats:
    """x @ weight.T as native/kernels/gemm/gemm.h orders it: every bit, while nothing is denormal.

    Products of two bf16 are exact in float32, so that a fused multiply-add is an addition.
    """
    x, weight = (to_bf16(np.pad(a, ((0, 0), (0, a.shape[1] % 2)))) for a in (x, weight))
    sums = np.zeros((x.shape[0], weight.shape[0]), np.float32)
    for pair in range(0, x.shape[1], 2):
        for i in (pair + 1, pair):
            sums += x[:, i, None] * weight[None, :, i]
    return sums


@dataclass(frozen=True, slots=True)
class LayerWeights(Mapping[str, NDArray[np.float32]]):
    """A model's weights, as an op reads them that is computed in `precision`."""

    weights: Weights
    precision: LayerPrecision

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        return self.weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.weights)

    def __len__(self) -> int:
        return len(self.weights)
