"""Embedding bags and sequence masks against explicit loops and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from recstack.batch import SparseInput
from recstack.engine.reference.bags import Bags, embedding_bag, sequence_mask
from recstack.model import ModelDescription, build
from recstack.model.ops import EmbeddingBag, SequenceMask

TABLE = np.random.default_rng(0).standard_normal((9, 4), np.float32)
FEATURE = SparseInput(name="f", length=3, weighted=True)
BAG = EmbeddingBag(output="y", inputs=("f",), table="t")
DESCRIPTION = ModelDescription(name="m", inputs=(FEATURE,), ops=(BAG,), outputs=("y",))
MODEL = build(DESCRIPTION, {"t": TABLE})
LENGTHS = np.array([2, 0, 3, 1, 0], np.int32)
VALUES = [7, 0, 1, 1, 0, 8]


def bags(dtype: type = np.int32, length: int = 3) -> Bags:
    feature = SparseInput(name="f", length=length, weighted=True)
    weights = np.array([1, -2, 0.5, 3, 4, 0.25], np.float32)
    return Bags(feature, np.array(VALUES, dtype), LENGTHS, weights)


def op(**fields: object) -> EmbeddingBag:
    return EmbeddingBag.model_validate({"output": "y", "inputs": ["f"], "table": "t", **fields})


def test_owners_and_positions():
    assert bags().owners.tolist() == [0, 0, 2, 2, 2, 3]
    assert bags().positions.tolist() == [0, 1, 0, 1, 2, 0]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("padding", [None, 0, 1])
@pytest.mark.parametrize("pooling", ["sum", "mean", "weighted"])
def test_pooling_agrees_with_torch(pooling, padding, dtype):
    b = bags(dtype)
    assert b.weights is not None
    got = embedding_bag(op(pooling=pooling, padding_index=padding), b, MODEL)
    want = torch.nn.functional.embedding_bag(
        torch.tensor(b.values),
        torch.tensor(TABLE),
        torch.tensor(np.cumsum(LENGTHS) - LENGTHS).to(torch.tensor(b.values).dtype),
        mode="mean" if pooling == "mean" else "sum",
        per_sample_weights=torch.tensor(b.weights) if pooling == "weighted" else None,
        padding_idx=padding,
    )
    np.testing.assert_allclose(got, want.numpy(), atol=1e-6)
    assert not got[1].any()


def test_mean_divides_by_the_lookups_that_are_not_padding():
    got = embedding_bag(op(pooling="mean", padding_index=1), bags(), MODEL)
    np.testing.assert_allclose(got[2], TABLE[0])
    b = Bags(SparseInput(name="f"), np.array([1, 1]), np.array([2], np.int32), None)
    assert not embedding_bag(op(pooling="mean", padding_index=1), b, MODEL).any()


@pytest.mark.parametrize("pooling", ["sum", "mean"])
def test_sum_and_mean_ignore_the_weights_of_a_weighted_feature(pooling):
    plain = Bags(SparseInput(name="f"), bags().values, LENGTHS, None)
    a, b = (embedding_bag(op(pooling=pooling), x, MODEL) for x in (bags(), plain))
    np.testing.assert_array_equal(a, b)


def test_padding_rows_are_never_read():
    table = TABLE.copy()
    table[1] = np.nan
    for pooling in ("sum", "mean", "weighted", "none"):
        got = embedding_bag(
            op(pooling=pooling, padding_index=1), bags(), build(DESCRIPTION, {"t": table})
        )
        assert np.isfinite(got).all()


def test_row_offset_is_added_and_padding_is_compared_before_it():
    got = embedding_bag(op(row_offset=1, padding_index=8), bags(), MODEL)
    want = np.zeros((5, 4))
    want[0] = TABLE[8] + TABLE[1]
    want[2] = TABLE[2] * 2.0 + TABLE[1]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_row_offset_does_not_overflow_int32_indices():
    b = Bags(SparseInput(name="f"), np.array([100], np.int8), np.array([1], np.int32), None)
    table = np.arange(300, dtype=np.float32)[:, None]
    assert embedding_bag(op(row_offset=100), b, build(DESCRIPTION, {"t": table})).item() == 200


@pytest.mark.parametrize("padding", [None, 0, 1])
def test_sequences_and_masks_agree_with_a_loop(padding):
    got = embedding_bag(op(pooling="none", padding_index=padding), bags(length=4), MODEL)
    mask_op = SequenceMask(output="m", inputs=("f",), padding_index=padding)
    mask = sequence_mask(mask_op, bags(length=4), MODEL)
    assert got.shape == (5, 4, 4) and mask.shape == (5, 4)
    values = iter(VALUES)
    for entry, length in enumerate(LENGTHS):
        for position in range(4):
            index = next(values) if position < length else padding
            counts = position < length and index != padding
            assert mask[entry, position] == counts
            want = TABLE[index] if counts else np.zeros(4)
            np.testing.assert_array_equal(got[entry, position], want)


@pytest.mark.parametrize("pooling", ["sum", "mean", "weighted", "none"])
def test_no_entries(pooling):
    feature = SparseInput(name="f", length=2, weighted=True)
    none = Bags(feature, np.zeros(0, int), np.zeros(0, np.int32), np.zeros(0, np.float32))
    shape = (0, 2, 4) if pooling == "none" else (0, 4)
    assert embedding_bag(op(pooling=pooling), none, MODEL).shape == shape
