"""Scopes, sizes and coverage of the reference as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from recstack.batch import Batch, feature_lengths
from recstack.engine.reference import ReferenceExecutor, reference
from recstack.engine.reference.bags import FEATURE_OPS, split_bags
from recstack.engine.reference.registry import OPS
from recstack.model import Model
from recstack.model.ops import AnyOp, Opaque
from tests.engine.draft import QUERY_ROWS_CASES, Draft
from tests.engine.small_models import SMALL_MODELS, make_batch

OP_CLASSES = set(AnyOp.__args__[0].__args__)


def test_every_op_is_defined():
    assert set(OPS) | set(FEATURE_OPS) | {Opaque} == OP_CLASSES


def test_small_models_cover_every_op_scope_and_index_width():
    made = [make() for make in SMALL_MODELS.values()]
    assert {type(op) for model, _ in made for op in model.ops} == OP_CLASSES
    values = [value.scope for model, _ in made for value in model.values.values()]
    assert set(values) == {"user", "item", "const"}
    assert {batch.values.dtype.name for _, batch in made} == {"int32", "int64"}
    assert any((lengths == 0).any() for m, b in made for lengths in feature_lengths(m.inputs, b))


@pytest.mark.parametrize("query_rows", QUERY_ROWS_CASES)
@pytest.mark.parametrize("name", SMALL_MODELS)
def test_shape_and_dtype_at_every_size(name, query_rows):
    model, _ = SMALL_MODELS[name]()
    scores = ReferenceExecutor(model).run(make_batch(model, query_rows))
    assert scores.shape == (sum(query_rows), model.output_width)
    assert scores.dtype == np.float32 and np.isfinite(scores).all()


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_a_query_of_n_rows_equals_n_queries_of_one_row(name):
    model, batch = SMALL_MODELS[name]()
    np.testing.assert_array_equal(reference(model, batch), reference(model, unmerged(model, batch)))


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_rows_do_not_see_each_other(name):
    model, batch = SMALL_MODELS[name]()
    single = unmerged(model, batch)
    order = np.random.default_rng(1).permutation(batch.rows)
    shuffled = reference(model, taken(model, single, order))
    np.testing.assert_allclose(shuffled, reference(model, batch)[order], rtol=1e-6, atol=1e-6)


def test_scopes_by_hand():
    d = Draft()
    item, user = d.dense(1), d.dense(1, "user")
    both = d.op("binary", item, user, fn="add")
    doubled = d.op("binary", user, fn="mul", scalar=2.0)
    batch = Batch(
        dense=np.array([[1], [2], [3]], np.float32),
        user_dense=np.array([[10], [20], [30]], np.float32),
        values=np.zeros(0, np.int32),
        lengths=np.zeros((0, 0), np.int32),
        query_offsets=np.array([0, 2, 2, 3], np.int32),
    )
    scores = reference(d.model(both, doubled), batch)
    np.testing.assert_array_equal(scores, [[11, 20], [12, 20], [33, 60]])


def unmerged(model: Model, batch: Batch) -> Batch:
    """The same rows, each as a query of its own with a copy of its user inputs."""
    owners = np.repeat(np.arange(batch.queries), np.diff(batch.query_offsets))
    return taken(model, batch, np.arange(batch.rows), owners)


def taken(model: Model, batch: Batch, rows: np.ndarray, queries: np.ndarray | None = None) -> Batch:
    """Rows of a batch, each as one query; `queries` names the query whose user inputs it has."""
    queries = rows if queries is None else queries
    values, weights, lengths = [], [], []
    for bags in split_bags(model, batch).values():
        of = rows if bags.feature.scope == "item" else queries
        ends = np.cumsum(bags.lengths)
        held = np.zeros(bags.values.size) if bags.weights is None else bags.weights
        parts = [slice(ends[e] - bags.lengths[e], ends[e]) for e in of]
        values += [bags.values[p] for p in parts]
        weights += [held[p] for p in parts]
        lengths.append(bags.lengths[of])
    flat = np.concatenate([*lengths, np.zeros(0, int)]).astype(np.int32)
    packed = np.concatenate([*values, np.zeros(0, int)]).astype(batch.values.dtype)
    return Batch(
        dense=batch.dense[rows],
        user_dense=batch.user_dense[queries],
        values=packed,
        lengths=flat.reshape(len(lengths), len(rows)) if lengths else flat,
        query_offsets=np.arange(len(rows) + 1, dtype=np.int32),
        weights=np.concatenate([*weights, np.zeros(0)]).astype(np.float32),
    )
