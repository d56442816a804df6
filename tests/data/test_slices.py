from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recstack.batch import Batch, Input, SparseInput, check, entries, feature_lengths
from recstack.data import merge, random_batch, slice_queries, slice_rows
from recstack.errors import BatchError
from recstack.model import Model, zoo


def bags(inputs: tuple[Input, ...], batch: Batch) -> dict[tuple[str, int], list[int]]:
    """The slow twin: every bag as a list."""
    at, found = 0, {}
    lengths = feature_lengths(inputs, batch)
    for item, n in zip((i for i in inputs if isinstance(i, SparseInput)), lengths, strict=True):
        for i in range(entries(item.scope, batch)):
            found[item.name, i] = batch.values[at : at + n[i]].tolist()
            at += int(n[i])
    assert at == batch.values.size
    return found


@pytest.fixture(scope="module", params=["din", "dien", "rm1", "mt-wnd", "rm1 with user tables"])
def model(request: pytest.FixtureRequest) -> Model:
    name, *user = request.param.split(" with ")
    overrides = {"user_scope_tables": 3, "fixed_lengths": False} if user else {}
    return zoo.outline(name, rows_scale=1e-3, **overrides)


def draw(model: Model, rows: int, queries: int = 1, **named: Any) -> Batch:
    return random_batch(model, rows, rows + queries, queries, lengths="ragged", **named)


@pytest.mark.parametrize("sizes", [(3, 5), (1,), (4, 0, 2, 7), (0, 0)])
def test_merge(model: Model, sizes: tuple[int, ...]) -> None:
    parts = [draw(model, n) for n in sizes]
    whole = merge(parts, model.inputs)
    check(model.inputs, whole)
    assert whole.query_offsets.tolist() == np.cumsum([0, *sizes]).tolist()
    np.testing.assert_array_equal(whole.dense, np.concatenate([p.dense for p in parts]))
    np.testing.assert_array_equal(whole.user_dense, np.concatenate([p.user_dense for p in parts]))
    found = bags(model.inputs, whole)
    row = 0
    scopes = {i.name: i.scope for i in model.sparse}
    for q, part in enumerate(parts):
        for (name, i), bag in bags(model.inputs, part).items():
            assert found.pop((name, row + i if scopes[name] == "item" else q)) == bag
        row += part.rows
    assert not found


def test_queries_can_be_taken_out_again(model: Model) -> None:
    parts = [draw(model, n, q) for n, q in ((3, 1), (5, 2), (4, 1))]
    whole = merge(parts, model.inputs)
    begin = 0
    for part in parts:
        cut = slice_queries(whole, model.inputs, begin, begin + part.queries)
        check(model.inputs, cut)
        assert np.array_equal(cut.query_offsets, part.query_offsets)
        assert np.array_equal(cut.dense, part.dense)
        assert bags(model.inputs, cut) == bags(model.inputs, part)
        begin += part.queries


@pytest.mark.parametrize(("begin", "end"), [(0, 9), (2, 7), (3, 3), (8, 9), (0, 0)])
def test_slice_rows(model: Model, begin: int, end: int) -> None:
    batch = draw(model, 9)
    cut = slice_rows(batch, model.inputs, begin, end)
    check(model.inputs, cut)
    assert (cut.rows, cut.queries) == (end - begin, 1)
    assert np.array_equal(cut.dense, batch.dense[begin:end])
    whole = bags(model.inputs, batch)
    scopes = {i.name: i.scope for i in model.sparse}
    for (name, i), bag in bags(model.inputs, cut).items():
        assert whole[name, begin + i if scopes[name] == "item" else 0] == bag


def test_weights_follow_their_values() -> None:
    inputs = (SparseInput(name="a", length=2, weighted=True), SparseInput(name="b", length=1))
    values = np.array([1, 2, 3, 4, 5], np.int32)
    batch = Batch(
        dense=np.zeros((2, 0), np.float32),
        user_dense=np.zeros((1, 0), np.float32),
        values=values,
        lengths=np.array([[1, 2], [0, 2]], np.int32),
        query_offsets=np.array([0, 2], np.int32),
        weights=values * np.float32(0.5),
    )
    cut = slice_rows(batch, inputs, 1, 2)
    assert cut.weights is not None and cut.weights.tolist() == [1.0, 1.5, 2.0, 2.5]
    both = merge([cut, batch], inputs)
    assert both.weights is not None
    assert both.values.tolist() == [2, 3, 1, 2, 3, 4, 5, 4, 5]
    assert np.array_equal(both.weights, both.values * np.float32(0.5))
    with pytest.raises(BatchError, match=r"got none - at `batches\[1\]`"):
        merge([batch, batch.replace(weights=None)], inputs)


def test_values_become_int64_if_any_are() -> None:
    model = zoo.outline("ncf")
    parts = [random_batch(model, 2, index_dtype=dtype) for dtype in (np.int32, np.int64)]
    assert merge(parts, model.inputs).values.dtype == np.int64


def test_a_model_without_sparse_inputs() -> None:
    batch = Batch(
        dense=np.arange(6, dtype=np.float32).reshape(3, 2),
        user_dense=np.zeros((1, 0), np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros((0, 0), np.int32),
        query_offsets=np.array([0, 3], np.int32),
    )
    assert slice_rows(batch, (), 1, 3).dense.tolist() == [[2, 3], [4, 5]]
    assert merge([batch, batch], ()).rows == 6


def test_misuse() -> None:
    model = zoo.outline("ncf")
    batch = random_batch(model, 4, queries=2)
    with pytest.raises(BatchError, match="at least one batch"):
        merge([], model.inputs)
    with pytest.raises(BatchError, match="expected one query, got 2"):
        slice_rows(batch, model.inputs, 0, 1)
    for begin, end in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(BatchError, match=r"0 <= begin <= end <= 2, got .* - at `queries`"):
            slice_queries(batch, model.inputs, begin, end)
