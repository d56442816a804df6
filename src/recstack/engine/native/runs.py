"""How broadcasting and moving entries become loops over contiguous runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

Shape = tuple[int, ...]


def strides(shape: Shape) -> Shape:
    """Row-major strides in elements."""
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def broadcast_strides(shape: Shape, out: Shape) -> Shape:
    """Strides of an operand of `shape` seen as `out`: 0 along axes where it repeats."""
    own = (0,) * (len(out) - len(shape)) + strides(shape)
    sizes = (1,) * (len(out) - len(shape)) + shape
    return tuple(0 if n == 1 and m != 1 else s for n, m, s in zip(sizes, out, own, strict=True))


def broadcast_runs(shapes: Sequence[Shape], out: Shape) -> tuple[int, list[int], list[list[int]]]:
    """(n, step per operand, offsets): an entry as runs of n elements.

    Each run's offsets are one per operand, then the output's. An operand's step is 1 where it has
    all of the run's elements and 0 where one of its elements serves the whole run.
    """
    steps_by_axis = [broadcast_strides(s, out) for s in shapes]
    own = strides(out)
    axis = len(out)
    full = [True] * len(shapes)
    single = [True] * len(shapes)
    while axis > 0:
        at = axis - 1
        for i, steps in enumerate(steps_by_axis):
            full[i] = full[i] and (steps[at] == own[at] or out[at] == 1)
            single[i] = single[i] and (steps[at] == 0 or out[at] == 1)
        if not all(f or s for f, s in zip(full, single, strict=True)):
            break
        axis = at
    n = prod(out[axis:])
    whole = [
        all(steps[a] == own[a] or out[a] == 1 for a in range(axis, len(out)))
        for steps in steps_by_axis
    ]
    outer = np.indices(out[:axis]).reshape(axis, -1) if axis else np.zeros((0, 1), np.int64)
    columns = [
        np.array(steps[:axis], np.int64) @ outer if axis else np.zeros(1, np.int64)
        for steps in [*steps_by_axis, own]
    ]
    return n, [int(w) for w in whole], np.stack(columns, axis=1).tolist()


def merge_axes(sizes: Shape, x: Shape, out: Shape) -> tuple[list[int], list[int], list[int]]:
    """The same copy with fewer axes: neighbours that step alike become one."""
    merged: list[list[int]] = []
    for size, a, b in zip(sizes, x, out, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1] == a * size and merged[-1][2] == b * size:
            merged[-1] = [merged[-1][0] * size, a, b]
        else:
            merged.append([size, a, b])
    merged = merged or [[1, 1, 1]]
    return [m[0] for m in merged], [m[1] for m in merged], [m[2] for m in merged]
