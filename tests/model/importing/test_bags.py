"""EmbeddingBag in every spelling scores as torch does."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recstack.errors import BatchError, ModelError
from recstack.model.importing import batch_from_inputs, coverage, from_torch
from tests.model.importing.cases import Inputs, assert_agrees, bags, ids

ROWS, DIM, WIDTH = 12, 3, 4


class Bag(nn.Module):
    """One bag through nn or F, in the spelling that the arguments ask for."""

    def __init__(
        self, mode: str, functional: bool, padding: int | None, last: bool = False
    ) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(
            ROWS, DIM, mode=mode, padding_idx=padding, include_last_offset=last
        )
        with torch.no_grad():
            self.bag.weight.normal_()
        self.functional, self.padding = functional, padding

    def forward(self, values: Tensor, *rest: Tensor) -> Tensor:
        offsets = rest[0] if values.dim() == 1 else None
        others = rest[1:] if values.dim() == 1 else rest
        weights = others[0] if others else None
        if not self.functional:
            return self.bag(values, offsets, weights)
        return F.embedding_bag(
            values,
            self.bag.weight,
            offsets,
            mode=self.bag.mode,
            per_sample_weights=weights,
            include_last_offset=self.bag.include_last_offset,
            padding_idx=self.padding,
        )


MATRIX = [
    (mode, ragged, weighted, padding, last, functional)
    for mode, ragged, weighted, padding, last, functional in product(
        ("sum", "mean", "max"),
        (False, True),
        (False, True),
        (None, 2),
        (False, True),
        (False, True),
    )
    if not (weighted and mode != "sum")
    and not (last and not ragged)
    and not (mode == "max" and (ragged or padding is not None))
]


def make_inputs(batch: int, seed: int, ragged: bool, weighted: bool, last: bool) -> Inputs:
    g = torch.Generator().manual_seed(seed)
    if not ragged:
        values = ids(ROWS, batch, WIDTH, g=g)
        return (values, torch.randn(batch, WIDTH, generator=g)) if weighted else (values,)
    values, offsets = bags(ROWS, batch, g)
    if last:
        offsets = torch.cat([offsets, torch.tensor([len(values)])])
    inputs: Inputs = (values, offsets)
    return (*inputs, torch.randn(len(values), generator=g)) if weighted else inputs


@pytest.mark.parametrize(("mode", "ragged", "weighted", "padding", "last", "functional"), MATRIX)
def test_spellings(
    mode: str, ragged: bool, weighted: bool, padding: int | None, last: bool, functional: bool
) -> None:
    module = Bag(mode, functional, padding, last)
    model = from_torch(module, make_inputs(3, 0, ragged, weighted, last))
    assert not coverage(model).opaque
    if mode != "max":
        op = model.ops[0]
        assert [o.kind for o in model.ops] == ["embedding_bag"]
        assert op.pooling == ("weighted" if weighted else mode)  # type: ignore[attr-defined]
        assert op.padding_index == padding  # type: ignore[attr-defined]
    for batch in (1, 2, 17):
        assert_agrees(model, module, make_inputs(batch, batch, ragged, weighted, last))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
@pytest.mark.parametrize("reduce", ["sum", "mean", "max"])
def test_embedding_and_reduction(reduce: str, dtype: torch.dtype) -> None:
    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, DIM, padding_idx=0)
            with torch.no_grad():
                self.table.weight.normal_()  # padding_idx does not zero the row at inference

        def forward(self, x: Tensor) -> Tensor:
            e = self.table(x)
            return e.amax(1) if reduce == "max" else getattr(e, reduce)(dim=1)

    module = Pooled()
    model = from_torch(module, (torch.ones(2, WIDTH, dtype=dtype),))
    if reduce != "max":
        assert [op.kind for op in model.ops] == ["embedding_bag"]
        assert model.ops[0].pooling == reduce  # type: ignore[attr-defined]
    inputs = ids(ROWS, 9, WIDTH, g=torch.Generator().manual_seed(0)).to(dtype)
    batch = batch_from_inputs(model, (inputs,))
    assert batch.values.dtype == (np.int32 if dtype == torch.int32 else np.int64)
    assert_agrees(model, module, (inputs,))


def test_stacked_bags_of_dlrm() -> None:
    """Offsets (tables, B) and indices (tables, nnz), as the DLRM benchmark passes them."""

    class Stacked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bags = nn.ModuleList(nn.EmbeddingBag(ROWS, DIM, mode="sum") for _ in range(2))

        def forward(self, offsets: Tensor, indices: Tensor) -> Tensor:
            return torch.cat(
                [bag(indices[i], offsets[i]) for i, bag in enumerate(self.bags)], dim=1
            )

    module = Stacked()
    g = torch.Generator().manual_seed(0)

    def inputs(batch: int) -> Inputs:
        return torch.arange(batch).repeat(2, 1) * 3, ids(ROWS, 2, batch * 3, g=g)

    model = from_torch(module, inputs(2))
    assert [op.kind for op in model.ops] == ["embedding_bag", "embedding_bag", "concat"]
    assert_agrees(model, module, inputs(5))


def test_shared_table_is_stored_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Embedding(ROWS, DIM)
            self.b = nn.Embedding(ROWS, DIM)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return self.a(x) * self.b(y)

    module = Tied()
    model = from_torch(module, (torch.ones(2, dtype=torch.int64),) * 2)
    assert list(model.weights) == ["a.weight"]
    assert not np.shares_memory(model.weights["a.weight"], module.a.weight.detach().numpy())
    shared = from_torch(module, (torch.ones(2, dtype=torch.int64),) * 2, copy=False)
    assert np.shares_memory(shared.weights["a.weight"], module.a.weight.detach().numpy())


def test_one_float_matrix_of_ids_and_numbers() -> None:
    """The single matrix of DeepCTR-Torch: columns cast to integers beside numeric ones."""

    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Embedding(ROWS, DIM), nn.Embedding(ROWS, DIM)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat(
                [self.a(x[:, 1].long()), self.b(x[:, 4:6].long()).flatten(1), x[:, 2:4], x[:, :1]],
                dim=1,
            )

    module = Mixed()

    def inputs(batch: int) -> Inputs:
        x = torch.randn(batch, 7)
        x[:, [1, 4, 5]] = ids(ROWS, batch, 3, g=torch.Generator().manual_seed(0)).float()
        return (x,)

    model = from_torch(module, inputs(3))
    assert [(i.name, i.kind) for i in model.inputs] == [
        ("x", "dense"),
        ("x.1", "sparse"),
        ("x.4-5", "sparse"),
    ]
    assert model.dense[0].width == 3
    assert_agrees(model, module, inputs(6))
    wrong = inputs(2)[0]
    wrong[0, 1] = 1.5
    with pytest.raises(BatchError, match="whole numbers"):
        batch_from_inputs(model, (wrong,))


class Computed(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.bag, self.how = nn.EmbeddingBag(ROWS, DIM, mode="max"), how

    def forward(self, values: Tensor, offsets: Tensor) -> Tensor:
        return self.bag(values, offsets)


def test_ragged_max_pooling_is_refused_with_its_source_line() -> None:
    inputs: tuple[Any, ...] = (torch.arange(5), torch.tensor([0, 2]))
    with pytest.raises(ModelError, match=r"max pooling of ragged bags.*test_bags\.py:\d+"):
        from_torch(Computed("max"), inputs)


def test_max_norm_is_applied_to_the_table() -> None:
    class Limited(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, DIM, max_norm=0.5)

        def forward(self, x: Tensor) -> Tensor:
            return self.table(x)

    module = Limited()
    before = module.table.weight.detach().clone()
    model = from_torch(module, (torch.tensor([1, 2]),))
    assert torch.equal(module.table.weight, before)
    assert [op.kind for op in model.ops] == ["embedding_bag"]
    assert_agrees(model, module, (torch.arange(ROWS),))


def test_sequence_lengths_as_an_argument() -> None:
    class Lengths(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(ROWS, DIM)
            self.gru = nn.GRU(DIM, DIM, batch_first=True)

        def forward(self, history: Tensor, length: Tensor) -> Tensor:
            states = self.gru(self.table(history))[0]
            mask = torch.arange(history.shape[1])[None, :] < length[:, None]
            mean = (states * mask.unsqueeze(-1)).sum(1) / length.unsqueeze(1)
            return torch.cat([states[torch.arange(history.shape[0]), length - 1], mean], 1)

    module = Lengths().eval()

    def inputs(batch: int) -> Inputs:
        g = torch.Generator().manual_seed(batch)
        return ids(ROWS, batch, WIDTH, g=g), ids(WIDTH + 1, batch, g=g, low=1)

    model = from_torch(module, inputs(3))
    assert not coverage(model).opaque
    assert [(i.name, i.kind) for i in model.inputs] == [("history", "sparse"), ("length", "dense")]
    for batch in (1, 8):
        assert_agrees(model, module, inputs(batch))
