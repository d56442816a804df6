"""Independently written torch modules import whole and score as torch does."""

from __future__ import annotations

import pytest
import torch

from recstack.model import Model
from recstack.model.importing import coverage, from_torch
from tests.model.importing.cases import CASES, assert_agrees, seeded

EXPECTED = {
    "rm1": {"embedding_bag": 4, "dot_interaction": 1},
    "rm1-tril": {"embedding_bag": 3, "dot_interaction": 1},
    "rm2": {"embedding_bag": 8, "dot_interaction": 0},
    "dcnv2": {"cross": 3},
    "dien": {"gru": 1},
    "dien-cells": {"gru": 1, "gru_cell": 0},
    "din": {"dice": 1, "attention_pooling": 1},
    "din-flat": {"dice": 1, "attention_pooling": 1},
    "din-softmax": {"dice": 1, "attention_pooling": 1},
    "two-tower": {"layer_norm": 1},
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[str, Model, torch.nn.Module]:
    name = request.param
    make, inputs = CASES[name]
    module = seeded(make)
    model = from_torch(module, inputs(3, torch.Generator().manual_seed(1)))
    return name, model, module


def test_no_opaque_op(case: tuple[str, Model, torch.nn.Module]) -> None:
    _, model, _ = case
    assert not coverage(model).opaque, str(coverage(model))


def test_recommendation_ops_are_recognised(case: tuple[str, Model, torch.nn.Module]) -> None:
    name, model, _ = case
    kinds = [op.kind for op in model.ops]
    wanted = EXPECTED.get(name, {})
    assert {kind: kinds.count(kind) for kind in wanted} == wanted


@pytest.mark.parametrize("batch", [1, 2, 7, 64])
def test_agrees_with_torch(case: tuple[str, Model, torch.nn.Module], batch: int) -> None:
    name, model, module = case
    inputs = CASES[name][1](batch, torch.Generator().manual_seed(batch))
    assert_agrees(model, module, inputs)
