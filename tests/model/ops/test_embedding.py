from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from recstack.errors import ModelError
from recstack.model.ops import EmbeddingBag, SequenceMask


def bag(**fields: Any) -> EmbeddingBag:
    return EmbeddingBag(**{"output": "y", "inputs": ("ids",), "table": "t", **fields})


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (bag(), (8,)),
        (bag(pooling="mean"), (8,)),
        (bag(pooling="none"), (5, 8)),
        (bag(pooling="weighted", inputs=("weighted",)), (8,)),
        (bag(inputs=("weighted",)), (8,)),
        (bag(row_offset=9, padding_index=0), (8,)),
        (SequenceMask(output="y", inputs=("ids",), padding_index=0), (5,)),
    ],
)
def test_shape(infer: Any, op: Any, shape: Any) -> None:
    assert infer(op, t=(10, 8)) == shape


@pytest.mark.parametrize(
    ("op", "table", "message"),
    [
        (bag(), (10,), "table of shape (rows, dim), got (10,)"),
        (bag(), (10, 8, 1), "table of shape (rows, dim), got (10, 8, 1)"),
        (bag(row_offset=10), (10, 8), "row_offset below 10 rows, got 10"),
        (bag(), (0, 8), "row_offset below 0 rows, got 0"),
        (bag(pooling="weighted"), (10, 8), "a weighted feature, got ids"),
        (bag(inputs=("ids", "weighted")), (10, 8), "1 to 1 inputs, got 2"),
        (bag(inputs=()), (10, 8), "1 to 1 inputs, got 0"),
        (bag(table="no"), (10, 8), "name of a weight, got 'no'"),
        (bag(inputs=("no",)), (10, 8), "name of a sparse input, got 'no'"),
    ],
)
def test_misfits(infer: Any, op: Any, table: Any, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        infer(op, t=table)
    assert message in str(caught.value) and "ops[0]" in caught.value.where


@pytest.mark.parametrize("field", ["row_offset", "padding_index"])
def test_negative_indices(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        bag(**{field: -1})


@pytest.mark.parametrize(("pooling", "flops"), [("sum", 40), ("mean", 40), ("none", 0)])
def test_cost(cost: Any, pooling: str, flops: int) -> None:
    found = cost(bag(pooling=pooling), t=(10, 8))
    assert (found.flops, found.lookups, found.gather_bytes) == (flops, 5, 160)
    assert (found.parameters, found.weight_bytes) == (80, 320)
