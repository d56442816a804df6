"""The values inside a model, as an engine computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data.labelled import LabelledData
from recstack.engine import EngineConfig, compile
from recstack.engine.precision import FP32, LayerPlan, LayerPrecision, layer_names
from recstack.model import Model
from recstack.precision.alone import Alone
from recstack.precision.inside import Inside, Values

MOST_BYTES = 256 << 20  # of values that one run may make
MOST_SHARE = 0.05
LEAST_GAIN = 4.0
MOST_ROWS = 16_384


def values_of(
    model: Model, names: Sequence[str], data: LabelledData, config: EngineConfig | None = None
) -> Values:
    """Each named value for every row of `data`, (rows, elements) float32; see `Inside`."""
    inside = Inside(model, names, config)
    parts = [
        inside.run(part.batch)[1]
        for part in data.chunks(max(MOST_BYTES // max(inside.row_bytes, 1), 1))
    ]
    parts = parts or [inside.run(data.batch)[1]]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def run_alone(
    part: Alone, values: Mapping[str, NDArray[np.float32]], precision: LayerPrecision
) -> NDArray[np.float32]:
    """What an op alone makes of these values of its inputs, computed in this precision."""
    read = [values[name] for name in part.reads]
    rows = len(read[0])
    batch = Batch(
        dense=np.ascontiguousarray(np.concatenate(read, axis=1)),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros((0, 0), np.int32),
        query_offsets=np.array([0, rows], np.int32),
    )
    plan = LayerPlan(FP32, dict.fromkeys(set(layer_names(part.model).values()), precision))
    return compile(part.model, EngineConfig(precision=plan)).run(batch)


def columns_that_stand_out(values: NDArray[np.float32], width: int) -> tuple[int, ...]:
    """Input columns so large that int8 would round all others to them: candidates for outliers.

    values: (rows, elements), taken as rows of `width` columns. A row's rounding noise goes with the
    square of its range, 0 included. Of the largest columns, at most a twentieth of all, as few as
    bring that noise within twice the least that so many can, if it falls to a quarter at all.

    >>> x = np.ones((8, 40), np.float32)
    >>> x[:, 17] = -90
    >>> columns_that_stand_out(x, 40)
    (17,)
    """
    if width < 2 or not values.size:
        return ()
    rows = values.reshape(-1, width)
    rows = rows[:: -(-len(rows) // MOST_ROWS)]
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return ()
    order = np.argsort(-np.abs(rows).max(axis=0), kind="stable")
    most = max(int(width * MOST_SHARE), 1)
    rest, large = rows[:, order[most:]], rows[:, order[:most][::-1]]
    # Ranges of what is left without the `most` largest columns, then with one more of them each.
    high = np.concatenate([np.maximum(rest.max(axis=1), 0)[:, None], large], axis=1)
    low = np.concatenate([np.minimum(rest.min(axis=1), 0)[:, None], large], axis=1)
    span = np.maximum.accumulate(high, axis=1) - np.minimum.accumulate(low, axis=1)
    noise = np.square(span, dtype=np.float64).mean(axis=0)[::-1]  # [k]: without the k largest
    if noise.min() > noise[0] / LEAST_GAIN:
        return ()
    count = int(np.flatnonzero(noise <= 2 * noise.min())[0])
    return tuple(sorted(int(c) for c in order[:count]))
