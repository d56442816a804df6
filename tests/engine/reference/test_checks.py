"""What the reference refuses, in which order, and what the errors carry."""

from __future__ import annotations

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.engine.reference import reference
from recstack.errors import BatchError, IndexOutOfRange, NonFinite
from recstack.model import Model
from tests.engine.draft import Draft, make_batch


def make() -> tuple[Model, Batch]:
    """Inputs i0 dense user, i1 dense item, i2 bag (11 rows), i3 user sequence, i4 weighted."""
    d = Draft()
    user, item = d.dense(2, "user"), d.dense(3)
    bag, sequence, weighted = d.sparse(2, fixed=True), d.sparse(2, "user"), d.sparse(weighted=True)
    pooled = d.bag(bag)
    tail = d.bag(bag, rows=20, row_offset=9)
    history = d.bag(sequence, pooling="none")
    model = d.model(user, item, pooled, tail, history, d.bag(weighted, pooling="weighted"))
    batch = make_batch(model, (2, 1))
    lengths = np.array([2, 2, 2, 2, 1, 1, 0, 2], np.int32)
    values = np.array([1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 0, 2], np.int64)
    return model, batch.replace(lengths=lengths, values=values, weights=np.ones(12, np.float32))


def changed(array: np.ndarray, at: object, value: float) -> np.ndarray:
    copy = array.copy()
    copy[at] = value
    return copy


@pytest.mark.parametrize("value", [-1, 11, 1 << 40])
def test_index_out_of_range(value):
    model, batch = make()
    with pytest.raises(IndexOutOfRange) as caught:
        reference(model, batch.replace(values=changed(batch.values, 3, value)))
    error = caught.value
    assert (error.feature, error.row, error.value, error.limit) == ("i2", 1, value, 11)


def test_the_limit_is_rows_less_row_offset_of_the_smallest_table():
    d = Draft()
    feature = d.sparse(fixed=True)
    model = d.model(d.bag(feature, rows=30), d.bag(feature, rows=12, row_offset=5))
    batch = make_batch(model, (3,)).replace(values=np.array([0, 6, 7], np.int32))
    with pytest.raises(IndexOutOfRange) as caught:
        reference(model, batch)
    assert (caught.value.row, caught.value.value, caught.value.limit) == (2, 7, 7)


def test_padding_must_be_in_range_too():
    d = Draft()
    model = d.model(d.bag(d.sparse(fixed=True), padding_index=99))
    batch = make_batch(model, (1,)).replace(values=np.array([99], np.int32))
    with pytest.raises(IndexOutOfRange):
        reference(model, batch)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_dense(bad):
    model, batch = make()
    with pytest.raises(NonFinite) as caught:
        reference(model, batch.replace(dense=changed(batch.dense, (2, 1), bad)))
    assert (caught.value.feature, caught.value.row, caught.value.column) == ("i1", 2, 1)
    np.testing.assert_equal(caught.value.value, float(bad))


def test_non_finite_lookup_weight():
    model, batch = make()
    assert batch.weights is not None
    with pytest.raises(NonFinite) as caught:
        reference(model, batch.replace(weights=changed(batch.weights, 11, np.nan)))
    assert (caught.value.feature, caught.value.row, caught.value.column) == ("i4", 2, 1)


def test_weights_of_features_without_weights_are_not_looked_at():
    model, batch = make()
    assert batch.weights is not None
    reference(model, batch.replace(weights=changed(batch.weights, 0, np.nan)))


def test_sequence_longer_than_its_length():
    model, batch = make()
    lengths = np.array([2, 2, 2, 1, 3, 0, 0, 2], np.int32)
    with pytest.raises(BatchError, match=r"at most 2 indices, got 3 - at `feature 'i3', query 1`"):
        reference(model, batch.replace(lengths=lengths))


def test_faults_are_reported_in_input_order():
    model, batch = make()
    faulty = batch.replace(
        user_dense=changed(batch.user_dense, (1, 0), np.nan),
        dense=changed(batch.dense, (0, 0), np.nan),
        values=changed(batch.values, 0, 99),
    )
    with pytest.raises(NonFinite, match="'i0'"):
        reference(model, faulty)
    with pytest.raises(NonFinite, match="'i1'"):
        reference(model, faulty.replace(user_dense=batch.user_dense))
    with pytest.raises(IndexOutOfRange, match="'i2'"):
        reference(model, batch.replace(values=faulty.values))
    with pytest.raises(BatchError, match="dense"):
        reference(model, faulty.replace(dense=batch.dense.astype(np.float64)))
