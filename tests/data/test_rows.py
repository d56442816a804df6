from types import MappingProxyType

import numpy as np
import pytest

from recstack.batch import DenseInput, SparseInput, check
from recstack.data.rows import Rows

SCHEMA = (
    DenseInput(name="x", width=2),
    SparseInput(name="past", length=3, scope="user"),
    SparseInput(name="id", fixed=True),
    SparseInput(name="tags", length=2),
)


@pytest.fixture
def rows() -> Rows:
    ones, two = np.ones(4, np.int32), np.array([2, 2, 0, 0], np.int32)
    sparse = {
        "past": (np.array([7, 8, 7, 8]), two),
        "id": (np.array([1, 2, 3, 4]), ones),
        "tags": (np.array([5, 6, 9]), np.array([0, 2, 0, 1], np.int32)),
    }
    dense = np.arange(8, dtype=np.float32).reshape(4, 2)
    return Rows(SCHEMA, np.zeros((4, 0), np.float32), dense, MappingProxyType(sparse))


def test_each_row_is_a_query_by_default(rows):
    batch = rows.batch()
    check(SCHEMA, batch)
    assert batch.values.tolist() == [7, 8, 7, 8, 1, 2, 3, 4, 5, 6, 9]
    assert batch.query_offsets.tolist() == [0, 1, 2, 3, 4]


def test_user_features_are_taken_once_per_query(rows):
    batch = rows.batch(query_offsets=np.array([0, 2, 4], np.int32))
    check(SCHEMA, batch)
    assert batch.values.tolist() == [7, 8, 1, 2, 3, 4, 5, 6, 9]
    assert batch.lengths.tolist() == [2, 0, 1, 1, 1, 1, 0, 2, 0, 1]


def test_named_features_alone_in_the_order_asked_for(rows):
    batch = rows.batch(("tags", "id"))
    check(rows.inputs(("tags", "id")), batch)
    assert batch.values.tolist() == [5, 6, 9, 1, 2, 3, 4]
    check(rows.inputs(()), rows.batch(()))


def test_rows_are_taken_in_any_order_and_bags_replaced(rows):
    taken = rows.take(np.array([3, 1, 1]))
    assert len(taken) == 3 and taken.dense.tolist() == [[6, 7], [2, 3], [2, 3]]
    assert taken.sparse["tags"][0].tolist() == [9, 5, 6, 5, 6]
    assert taken.padded("past").tolist() == [[0, 0, 0], [7, 8, 0], [7, 8, 0]]
    other = rows.with_bags(id=(np.zeros(4, np.int64), rows.sparse["id"][1]))
    assert other.sparse["id"][0].tolist() == [0] * 4 and rows.sparse["id"][0].tolist() != [0] * 4
