from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from scipy import stats

from recstack.batch import DenseInput, SparseInput, check, feature_lengths
from recstack.data import random_batch, streams
from recstack.errors import ConfigError
from recstack.model import Model, ModelDescription, build, zoo
from recstack.model.ops import EmbeddingBag, SequenceMask


@pytest.fixture(scope="module")
def model() -> Model:
    inputs = (
        DenseInput(name="x", width=2),
        DenseInput(name="who", width=3, scope="user"),
        SparseInput(name="bag", length=5),
        SparseInput(name="exact", length=3, fixed=True, weighted=True),
        SparseInput(name="history", length=6, scope="user"),
        SparseInput(name="masked", length=4),
    )
    ops = (
        EmbeddingBag(output="a", inputs=("bag",), table="t"),
        EmbeddingBag(output="b", inputs=("exact",), table="t"),
        EmbeddingBag(output="c", inputs=("history",), table="t", pooling="none"),
        EmbeddingBag(output="d", inputs=("masked",), table="t"),
        SequenceMask(output="e", inputs=("masked",)),
    )
    data = ModelDescription(name="m", inputs=inputs, ops=ops, outputs=("a",))
    return build(data, {"t": np.zeros((11, 4), np.float32)})


@pytest.mark.parametrize("lengths", ["fixed", "ragged"])
@pytest.mark.parametrize("indices", ["uniform", "zipf", streams.Zipf(0.6)])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize(("rows", "queries"), [(64, 1), (7, 3), (2, 5), (0, 1), (0, 0)])
def test_batches_fit(
    model: Model, lengths: Any, indices: Any, dtype: Any, rows: int, queries: int
) -> None:
    batch = random_batch(model, rows, 3, queries, dtype, lengths, indices)
    check(model.inputs, batch)
    assert (batch.rows, batch.queries) == (rows, queries)
    assert batch.values.dtype == dtype
    assert batch.values.size == 0 or 0 <= batch.values.min() <= batch.values.max() < 11
    assert batch.weights is not None


def test_the_default_is_one_query_of_fixed_length(model: Model) -> None:
    batch = random_batch(model)
    assert batch.query_offsets.tolist() == [0, 64]
    assert [set(n.tolist()) for n in feature_lengths(model.inputs, batch)] == [{5}, {3}, {6}, {4}]


def test_ragged_lengths(model: Model) -> None:
    batch = random_batch(model, 2000, queries=1000, lengths="ragged")
    bag, exact, history, masked = feature_lengths(model.inputs, batch)
    assert (bag.min(), bag.max()) == (0, 10) and abs(bag.mean() - 5) < 0.3
    assert set(exact.tolist()) == {3}
    assert history.size == 1000 and (history.min(), history.max()) == (0, 6)
    assert (masked.min(), masked.max()) == (0, 4)


def test_rows_are_shared_out_evenly(model: Model) -> None:
    sizes = np.diff(random_batch(model, 17, queries=5).query_offsets)
    assert sizes.sum() == 17 and sizes.max() - sizes.min() <= 1


def test_the_seed_decides(model: Model) -> None:
    one, same, other = (random_batch(model, seed=s) for s in (1, 1, 2))
    assert np.array_equal(one.values, same.values) and np.array_equal(one.dense, same.dense)
    assert not np.array_equal(one.values, other.values)


def test_dense_inputs_are_standard_normal(model: Model) -> None:
    batch = random_batch(model, 5000, seed=1)
    assert stats.kstest(batch.dense.ravel(), "norm").pvalue > 1e-3


def test_uniform_indices_are_uniform(model: Model) -> None:
    counts = np.bincount(random_batch(model, 5000, seed=1).values)
    assert counts.size == 11 and stats.chisquare(counts).pvalue > 1e-3


def test_zipf_spreads_popular_rows_over_the_table() -> None:
    outline = zoo.outline("wnd")
    values = random_batch(outline, 4000, indices="zipf").values[:4000]
    rows, counts = np.unique(values, return_counts=True)
    hot = rows[np.argsort(counts)[-20:]]
    assert counts.max() > 50 and np.ptp(hot) > 500_000


def test_a_table_of_one_row() -> None:
    outline = zoo.outline("ncf", rows_scale=1e-9)
    for how in ("uniform", "zipf"):
        assert random_batch(outline, indices=how).values.max() == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"rows": -1},
        {"queries": -1},
        {"queries": 0},
        {"index_dtype": np.float32},
        {"lengths": "long"},
        {"indices": "poisson"},
    ],
)
def test_wrong_arguments(model: Model, wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        random_batch(model, **wrong)


def test_large_batches_are_fast() -> None:
    outline = zoo.outline("rm2")
    start = time.monotonic()
    batch = random_batch(outline, rows=1024)
    assert batch.values.size == 3_932_160
    assert time.monotonic() - start < 2
