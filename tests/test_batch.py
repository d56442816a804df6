from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from recstack.batch import (
    Batch,
    DenseInput,
    Input,
    SparseInput,
    check,
    entries,
    feature_lengths,
    pack_lengths,
)
from recstack.errors import BatchError

MIXED: tuple[Input, ...] = (
    DenseInput(name="x", width=2),
    SparseInput(name="ad", length=1, fixed=True),
    DenseInput(name="who", width=3, scope="user"),
    SparseInput(name="seen", length=4, scope="user"),
    DenseInput(name="z", width=1),
    SparseInput(name="tags", length=2, weighted=True),
)
BAGS: tuple[Input, ...] = (
    SparseInput(name="one", length=2),
    SparseInput(name="two", length=2),
)


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def mixed(**changes: Any) -> Batch:
    """Two queries of one and two rows; bags: ad 1 1 1, seen 2 0, tags 0 3 1."""
    fields = {
        "dense": np.zeros((3, 3), np.float32),
        "user_dense": np.zeros((2, 3), np.float32),
        "values": np.arange(9, dtype=np.int32),
        "lengths": i32(1, 1, 1, 2, 0, 0, 3, 1),
        "query_offsets": i32(0, 1, 3),
        "weights": np.ones(9, np.float32),
    }
    return Batch(**{**fields, **changes})


def bags(lengths: Any, values: int, rows: int) -> Batch:
    empty = np.zeros((rows, 0), np.float32)
    return Batch(empty, empty[:1], np.zeros(values, np.int64), lengths, i32(0, rows))


def test_sizes() -> None:
    batch = mixed()
    assert (batch.rows, batch.queries) == (3, 2)
    assert (entries("item", batch), entries("user", batch)) == (3, 2)
    nothing = mixed(query_offsets=i32())
    assert (nothing.rows, nothing.queries) == (0, 0)
    assert batch.replace(weights=None).weights is None and batch.weights is not None


def test_good_batches() -> None:
    check(MIXED, mixed())
    check(MIXED, mixed(values=np.arange(9, dtype=np.int64)))
    check(BAGS, bags(np.array([[2, 0, 1], [1, 2, 1]], np.int32), 7, 3))
    check(BAGS, bags(i32(2, 0, 1, 1, 2, 1), 7, 3))
    check((), bags(np.zeros((0, 0), np.int32), 0, 3))


def test_empty_batches() -> None:
    none = np.zeros((0, 3), np.float32)
    batch = Batch(none, none, i32(), i32(), i32(0), np.zeros(0, np.float32))
    assert (batch.rows, batch.queries) == (0, 0)
    check(MIXED, batch)
    check(MIXED, mixed(dense=none, query_offsets=i32(0, 0, 0), lengths=i32(2, 0), values=i32(1, 2),
                       weights=np.ones(2, np.float32)))  # fmt: skip
    check(BAGS, bags(np.zeros((2, 0), np.int32), 0, 0))


BAD = [
    ({"query_offsets": np.array([0, 1, 3])}, "(Q + 1,) int32, got (3,) int64", "query_offsets"),
    ({"query_offsets": i32()}, "(Q + 1,) int32, got (0,)", "query_offsets"),
    ({"query_offsets": i32(0, 1, 3)[None]}, "got (1, 3) int32", "query_offsets"),
    ({"query_offsets": i32(1, 1, 3)}, "expected 0, got 1", "query_offsets[0]"),
    ({"query_offsets": i32(0, 5, 3)}, "expected at least 5, got 3", "query_offsets[2]"),
    ({"dense": np.zeros((3, 3))}, "expected float32, got float64", "dense"),
    ({"dense": np.zeros((3, 2), np.float32)}, "shape (3, 3), got (3, 2)", "dense"),
    ({"dense": np.zeros((2, 3), np.float32)}, "shape (3, 3), got (2, 3)", "dense"),
    ({"dense": np.zeros(9, np.float32)}, "shape (3, 3), got (9,)", "dense"),
    ({"user_dense": np.zeros((2, 3), np.float16)}, "got float16", "user_dense"),
    ({"user_dense": np.zeros((3, 3), np.float32)}, "(2, 3), got (3, 3)", "user_dense"),
    ({"values": np.zeros(9)}, "(nnz,) int32 or int64, got (9,) float64", "values"),
    ({"values": np.zeros(9, np.uint32)}, "got (9,) uint32", "values"),
    ({"values": np.zeros(9, ">i4")}, "got (9,) >i4", "values"),
    ({"values": np.zeros((9, 1), np.int32)}, "got (9, 1) int32", "values"),
    ({"values": np.zeros(8, np.int32)}, "sum to 8, the number of values, got 9", "lengths"),
    ({"lengths": np.ones(8, np.int64)}, "expected int32, got int64", "lengths"),
    (
        {"lengths": i32(1, 1, 1, 2, 0, 0, 4)},
        "expected 8 lengths (3 features, 3 rows, 2 queries), got 7",
        "lengths",
    ),
    (
        {"lengths": i32(1, 1, 1, 2, -1, 0, 4, 1)},
        "length >= 0, got -1",
        "feature 'seen', query 1",
    ),
    ({"lengths": i32(1, 1, 1, 2, 0, 0, 5, -1)}, "got -1", "feature 'tags', row 2"),
    ({"lengths": i32(1, 0, 2, 2, 0, 0, 3, 1)}, "length 1, got 0", "feature 'ad', row 1"),
    ({"weights": None}, "(nnz,) float32 for a weighted feature, got none", "weights"),
    ({"weights": np.ones(8, np.float32)}, "(9,) float32, got (8,) float32", "weights"),
    ({"weights": np.ones(9)}, "(9,) float32, got (9,) float64", "weights"),
]


@pytest.mark.parametrize(("changes", "message", "where"), BAD)
def test_bad_batches_name_the_place(changes: dict[str, Any], message: str, where: str) -> None:
    with pytest.raises(BatchError) as caught:
        check(MIXED, mixed(**changes))
    assert message in str(caught.value)
    assert caught.value.where == where


def test_lengths_with_axes_swapped() -> None:
    with pytest.raises(BatchError, match=r"expected shape \(2, 3\), got \(3, 2\) - at `lengths`"):
        check(BAGS, bags(np.ones((3, 2), np.int32), 6, 3))


def test_lengths_beyond_int32_do_not_wrap() -> None:
    lengths = np.full((2, 3), 2**31 - 1, np.int32)
    with pytest.raises(BatchError, match=f"got {6 * (2**31 - 1)}"):
        check(BAGS, bags(lengths, 6, 3))


def test_a_model_without_dense_inputs_ignores_an_empty_array() -> None:
    batch = bags(i32(2, 0, 1, 1, 2, 1), 7, 3)
    check(BAGS, batch.replace(dense=np.zeros((0, 0), np.float32)))
    with pytest.raises(BatchError, match=r"expected shape \(3, 0\), got \(3, 1\) - at `dense`"):
        check(BAGS, batch.replace(dense=np.zeros((3, 1), np.float32)))


def test_feature_lengths_are_views() -> None:
    batch = mixed()
    views = feature_lengths(MIXED, batch)
    assert [v.tolist() for v in views] == [[1, 1, 1], [2, 0], [0, 3, 1]]
    assert all(np.shares_memory(v, batch.lengths) for v in views)


def test_pack_lengths() -> None:
    views = feature_lengths(MIXED, mixed())
    assert pack_lengths(MIXED, views).tolist() == [1, 1, 1, 2, 0, 0, 3, 1]
    packed = pack_lengths(BAGS, [np.array([2, 0]), np.array([1, 1])])
    assert packed.tolist() == [[2, 0], [1, 1]] and packed.dtype == np.int32
    assert pack_lengths(BAGS, [i32(), i32()]).shape == (2, 0)
    assert pack_lengths((), []).shape == (0, 0)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "dense", "name": "x", "width": 0},
        {"kind": "dense", "name": "", "width": 1},
        {"kind": "dense", "name": "x" * 201, "width": 1},
        {"kind": "sparse", "name": "x", "length": 0},
        {"kind": "sparse", "name": "x", "width": 3},
        {"kind": "sparse", "name": "x", "scope": "page"},
        {"kind": "image", "name": "x"},
    ],
)
def test_bad_inputs(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Input).validate_python(fields)
