from __future__ import annotations

import itertools

import numpy as np
import pytest

from recstack.engine.native.runs import broadcast_runs, broadcast_strides, merge_axes, strides

SHAPES = [(), (1,), (4,), (3, 1), (3, 4), (1, 4), (2, 1, 4), (2, 3, 1), (2, 3, 4), (1, 1, 1)]


@pytest.mark.parametrize(("a", "b"), list(itertools.product(SHAPES, SHAPES)), ids=str)
def test_runs_do_what_numpy_broadcasting_does(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    out = np.broadcast_shapes(a, b)
    x, y = (np.arange(np.prod(s, dtype=int)) + 100.0 * i for i, s in enumerate((a, b)))
    n, steps, offsets = broadcast_runs([a, b], out)
    found = np.full(int(np.prod(out, dtype=int)), np.nan)
    for at_x, at_y, at_out in offsets:
        for i in range(n):
            found[at_out + i] = x[at_x + i * steps[0]] + 1000 * y[at_y + i * steps[1]]
    want = x.reshape(a) + 1000 * y.reshape(b)
    assert np.array_equal(found.reshape(out), want)


def test_equal_shapes_are_one_run() -> None:
    assert broadcast_runs([(2, 3, 4), (2, 3, 4)], (2, 3, 4)) == (24, [1, 1], [[0, 0, 0]])


def test_strides_of_what_repeats_are_zero() -> None:
    assert strides((2, 3, 4)) == (12, 4, 1)
    assert broadcast_strides((3, 1), (2, 3, 4)) == (0, 1, 0)


def test_neighbouring_axes_that_step_alike_merge() -> None:
    assert merge_axes((2, 3, 4), (12, 4, 1), (12, 4, 1)) == ([24], [1], [1])
    assert merge_axes((2, 1, 4), (1, 9, 2), (4, 4, 1)) == ([2, 4], [1, 2], [4, 1])
    assert merge_axes((1, 1), (5, 5), (5, 5)) == ([1], [1], [1])
