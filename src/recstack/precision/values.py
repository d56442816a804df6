"""The values inside a model, as an engine computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data.labelled import LabelledData
from recstack.engine import EngineConfig, compile
from recstack.engine.precision import FP32, LayerPlan, LayerPrecision, layer_names
from recstack.model import Model
from recstack.model.model import build
from recstack.precision.alone import Alone

MOST_BYTES = 256 << 20  # of values that one run may make
MOST_SHARE = 0.05
LEAST_GAIN = 4.0
MOST_ROWS = 16_384
Values = dict[str, NDArray[np.float32]]


def values_of(
    model: Model, names: Sequence[str], data: LabelledData, config: EngineConfig | None = None
) -> Values:
    """Each named value for every row of `data`, (rows, elements) float32.

    A user-scope value is repeated on every row of its query. The engine keeps what else it would
    fuse away, so that a value may differ in rounding from what a fused step makes of it.
    """
    widths = [model.values[name].elements for name in names]
    rows = max(MOST_BYTES // (4 * max(sum(widths), 1)), 1)
    changed = model.description.model_copy(update={"outputs": tuple(names), "arguments": ()})
    engine = compile(build(changed, model.weights), config)
    parts = [engine.run(part.batch) for part in data.chunks(rows)]
    whole = np.concatenate(parts) if parts else engine.run(data.batch)
    ends = np.cumsum([0, *widths])
    return {n: whole[:, a:b] for n, (a, b) in zip(names, pairwise(ends), strict=True)}


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


def input_of(model: Model, layer: str) -> str:
    """The value that the layer's weight meets first, whose columns may be outliers."""
    op = next(op for op in model.ops if op.output == layer)
    return op.inputs[-1 if op.kind == "cross" else 0]


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
