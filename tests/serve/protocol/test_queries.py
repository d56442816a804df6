from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from recstack.batch import DenseInput, SparseInput, check
from recstack.engine.reference import reference
from recstack.serve.protocol.queries import split
from recstack.serve.protocol.schema import schema


@pytest.mark.parametrize("seed", range(8))
def test_the_parts_score_as_the_whole(tools: Any, seed: int) -> None:
    model = tools.model()
    batch = tools.batch(rows=11, queries=seed + 1, seed=seed)
    parts = split(schema(model.inputs), batch)
    assert [p.rows for p in parts] == np.diff(batch.query_offsets).tolist()
    for part in parts:
        check(model.inputs, part)
        assert part.queries == 1
    stacked = np.concatenate([reference(model, part) for part in parts])
    np.testing.assert_array_equal(stacked, reference(model, batch))


@pytest.mark.parametrize("scope", ["item", "user"])
def test_one_scope_keeps_its_two_axes(tools: Any, scope: Any) -> None:
    inputs = (
        DenseInput(name="d", width=1),
        SparseInput(name="a", scope=scope),
        SparseInput(name="b", scope=scope),
    )
    offsets = np.array([0, 0, 3], np.int32)
    entries = 3 if scope == "item" else 2
    lengths = np.arange(2 * entries, dtype=np.int32).reshape(2, entries)
    batch = tools.batch(3).replace(
        user_dense=np.zeros((2, 0), np.float32),
        dense=np.zeros((3, 1), np.float32),
        lengths=lengths,
        values=np.arange(lengths.sum()),
        query_offsets=offsets,
        weights=None,
    )
    first, second = split(schema(inputs), batch)
    assert first.lengths.shape == ((2, 0) if scope == "item" else (2, 1))
    assert second.lengths.shape == ((2, 3) if scope == "item" else (2, 1))
    for part in (first, second):
        check(inputs, part)
