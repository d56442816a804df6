"""Steps of dense layers in int8 (native/kernels/gemm8)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.engine.native.plan import Place, Plan, ScopeName
from recstack.engine.precision import LayerPrecision

MAX_K = 65536  # kMaxK of gemm8.h
# Narrower layers run in fp32: quantising a row takes longer than so few of its sums save.
MIN_OUTPUTS = 8


def runs_in_int8(precision: LayerPrecision, n: int, k: int) -> bool:
    """Whether weights (n, k) of this precision are multiplied in int8; if not, in fp32."""
    return precision.format == "int8" and n >= MIN_OUTPUTS and k <= MAX_K


def emit_linear8(
    plan: Plan,
    scope: ScopeName,
    operands: Sequence[Place],
    ints: Sequence[int],
    weights: Sequence[NDArray[np.float32]],
    precision: LayerPrecision,
) -> None:
    """The step of a linear; operands, ints and weights as "linear" takes them."""
    given = precision.activations
    floats = () if given is None else (given.low, given.high)
    own = [given is not None, *precision.outliers]
    plan.emit("linear8", scope, operands, [*ints, *own], floats, weights)
