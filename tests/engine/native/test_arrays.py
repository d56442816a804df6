"""Arrays as `Engine.run` takes them: read where they lie, or refused with a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import recstack as rs
from recstack.batch import Batch
from recstack.engine.native.engine import Engine


@pytest.fixture(scope="module")
def engine() -> Engine:
    engine = rs.compile(rs.zoo.build("rm1", rows_scale=0.001))
    assert isinstance(engine, Engine)
    return engine


@pytest.fixture(scope="module")
def batch(engine: Engine) -> Batch:
    return rs.data.random_batch(engine.model, rows=3, seed=0)


def test_read_only_arrays_and_both_kinds_of_indices_are_read(engine: Engine, batch: Batch) -> None:
    want = engine.run(batch)
    wide = batch.values.astype(np.int64)
    wide.flags.writeable = False
    np.testing.assert_array_equal(engine.run(batch.replace(values=wide)), want)
    np.testing.assert_array_equal(
        engine.run(batch.replace(values=batch.values.astype(np.longlong))), want
    )


def test_scores_land_in_the_array_that_is_given(engine: Engine, batch: Batch) -> None:
    out = np.zeros((3, 1), np.float32)
    assert engine.run(batch, out) is out
    np.testing.assert_array_equal(out, engine.run(batch))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.zeros((3, 2), np.float32), r"expected \(3, 1\) float32, got \(3, 2\) float32"),
        (np.zeros((3, 1)), r"expected \(3, 1\) float32, got \(3, 1\) float64"),
        (np.zeros((3, 2), np.float32)[:, :1], "expected a contiguous, aligned array that can be"),
        (np.frombuffer(bytes(12), np.float32).reshape(3, 1), "expected a contiguous, aligned"),
    ],
)
def test_an_array_that_cannot_take_scores_is_refused(
    engine: Engine, batch: Batch, out: Any, message: str
) -> None:
    with pytest.raises(rs.RecstackError, match=message):
        engine.run(batch, out)


@pytest.mark.parametrize("name", ["dense", "values", "lengths", "query_offsets"])
def test_what_is_no_array_or_of_another_byte_order_is_refused(
    engine: Engine, batch: Batch, name: str
) -> None:
    given = getattr(batch, name)
    with pytest.raises(rs.RecstackError, match=name):
        engine.run(batch.replace(**{name: given.tolist()}))
    with pytest.raises(rs.RecstackError, match=name):
        engine.run(batch.replace(**{name: given.astype(given.dtype.newbyteorder())}))
