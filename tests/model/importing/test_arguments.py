"""A module's tensors as a batch; inputs of user scope."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recstack.batch import check
from recstack.data import random_batch
from recstack.engine.reference import reference
from recstack.errors import BatchError, ModelError
from recstack.model import ModelDescription, build, load
from recstack.model.importing import batch_from_inputs, from_torch
from tests.model.importing.cases import CASES, Inputs, assert_agrees, seeded, torch_scores


class Ranker(nn.Module):
    """A user (id, history, ragged clicks, context) against a candidate."""

    def __init__(self) -> None:
        super().__init__()
        self.user, self.item = nn.Embedding(20, 4), nn.Embedding(30, 4)
        self.clicks = nn.EmbeddingBag(30, 4, mode="mean")
        self.out = nn.Linear(19, 1)

    def forward(
        self,
        user: Tensor,
        history: Tensor,
        clicks: Tensor,
        ends: Tensor,
        context: Tensor,
        item: Tensor,
    ) -> Tensor:
        past = self.item(history).mean(1)
        parts = [self.user(user), past, self.clicks(clicks, ends), self.item(item), context]
        return self.out(torch.cat(parts, 1))


USER = ["user", "history", "clicks", "ends", "context"]


def per_query(queries: int, seed: int = 0) -> tuple[Tensor, ...]:
    g = torch.Generator().manual_seed(seed)
    ends = torch.arange(queries) * 2
    return (
        torch.randint(0, 20, (queries,), generator=g),
        torch.randint(0, 30, (queries, 5), generator=g),
        torch.randint(0, 30, (2 * queries + 1,), generator=g),
        ends,
        torch.randn(queries, 3, generator=g),
    )


def per_row(user: tuple[Tensor, ...], counts: list[int]) -> tuple[Tensor, ...]:
    owner = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    ids, history, clicks, ends, context = user
    bounds = [*ends.tolist(), len(clicks)]
    bags = [clicks[bounds[q] : bounds[q + 1]] for q in owner.tolist()]
    lengths = torch.tensor([0, *(len(b) for b in bags)])
    return ids[owner], history[owner], torch.cat(bags), lengths.cumsum(0)[:-1], context[owner]


def test_user_inputs_per_row_and_per_query() -> None:
    torch.manual_seed(0)
    module, counts = Ranker().eval(), [3, 1, 4]
    user, item = per_query(3), torch.randint(0, 30, (8,))
    wide = (*per_row(user, counts), item)
    model = from_torch(module, wide, user_inputs=USER)
    assert {i.name: i.scope for i in model.inputs} == {
        "user": "user",
        "history": "user",
        "clicks": "user",
        "context": "user",
        "item": "item",
    }
    scopes = {op.inputs: model.values[op.output].scope for op in model.ops}
    assert scopes[("user",)] == scopes[("clicks",)] == "user"
    assert scopes[("item",)] == "item"
    offsets = np.array([0, 3, 4, 8])
    narrow = batch_from_inputs(model, (*user, item), offsets)
    same = batch_from_inputs(model, wide, offsets)
    assert narrow.queries == 3 and narrow.rows == 8
    for field in ("dense", "user_dense", "values", "lengths", "query_offsets"):
        np.testing.assert_array_equal(getattr(narrow, field), getattr(same, field))
    check(model.inputs, narrow)
    want = torch_scores(module, wide)
    np.testing.assert_allclose(reference(model, narrow), want, atol=1e-5)
    assert_agrees(model, module, wide)  # each row a query of its own


def test_user_inputs_must_be_constant_in_a_query() -> None:
    counts = [2, 2]
    wide = [*per_row(per_query(2), counts), torch.arange(4)]
    model = from_torch(Ranker(), tuple(wide), user_inputs=USER)
    offsets = [0, 2, 4]
    for position, name in ((0, "user"), (1, "history"), (4, "context"), (2, "clicks")):
        changed = list(wide)
        changed[position] = wide[position].clone()
        changed[position][-1] += 1
        with pytest.raises(BatchError, match=rf"query 1.*{name}"):
            batch_from_inputs(model, changed, offsets)


def test_one_row_for_a_user_beside_many_candidates() -> None:
    class OneUser(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.user, self.item = nn.Embedding(20, 4), nn.Embedding(30, 4)
            self.net = nn.Linear(8, 1)

        def forward(self, user: Tensor, item: Tensor) -> Tensor:
            u = self.user(user).expand(item.shape[0], -1)
            return self.net(torch.cat([u, self.item(item)], -1)) + (u * self.item(item)).sum(
                -1, True
            )

    module = OneUser()
    inputs = (torch.tensor([3]), torch.arange(6))
    with pytest.raises(ModelError, match="user_inputs"):
        from_torch(module, inputs)
    model = from_torch(module, inputs, user_inputs=["user"])
    got = reference(model, batch_from_inputs(model, inputs, [0, 6]))
    np.testing.assert_allclose(got, torch_scores(module, inputs), atol=1e-5)


def test_nested_names_mark_all_below_them() -> None:
    make, inputs = CASES["rm1"]
    example = inputs(3, torch.Generator())
    model = from_torch(seeded(make), example, user_inputs=["indices.0", "offsets.0"])
    assert [i.scope for i in model.sparse] == ["user", "item", "item", "item"]
    every = from_torch(seeded(make), example, user_inputs=["indices", "offsets"])
    assert {i.scope for i in every.sparse} == {"user"}
    with pytest.raises(ModelError, match=r"expected one of .*dense.* got 'nobody'"):
        from_torch(seeded(make), example, user_inputs=["nobody"])


@pytest.mark.parametrize("name", CASES)
def test_batches_are_well_formed_and_models_survive_saving(name: str, tmp_path: object) -> None:
    make, inputs = CASES[name]
    module = seeded(make)
    model = from_torch(module, inputs(2, torch.Generator()), name="mine")
    assert model.name == "mine"
    model.save(f"{tmp_path}/m")
    again = load(f"{tmp_path}/m")
    example: Inputs = inputs(5, torch.Generator().manual_seed(3))
    batch = batch_from_inputs(again, example)
    check(again.inputs, batch)
    assert batch.rows == batch.queries == 5
    np.testing.assert_array_equal(reference(model, batch), reference(again, batch))
    empty = batch_from_inputs(again, inputs(0, torch.Generator()))
    assert reference(again, empty).shape == (0, model.output_width)


def test_random_batches_run() -> None:
    make, inputs = CASES["din"]
    model = from_torch(seeded(make), inputs(2, torch.Generator()))
    assert reference(model, random_batch(model, rows=5, seed=0)).shape == (5, 1)


def test_wrong_inputs_are_named() -> None:
    make, inputs = CASES["wnd"]
    model = from_torch(seeded(make), inputs(2, torch.Generator()))
    dense, sparse = inputs(4, torch.Generator())
    with pytest.raises(BatchError, match=r"expected 2 tensors \['dense', 'sparse'\], got 1"):
        batch_from_inputs(model, (dense,))
    with pytest.raises(BatchError, match=r"expected 5 columns.*dense"):
        batch_from_inputs(model, (dense[:, :3], sparse))
    with pytest.raises(BatchError, match=r"expected 4 rows, got 3.*sparse"):
        batch_from_inputs(model, (dense, sparse[:3]))
    with pytest.raises(BatchError, match="query_offsets"):
        batch_from_inputs(model, (dense, sparse), [0, 3])
    with pytest.raises(ModelError, match="imported model"):
        plain = ModelDescription(name="x", inputs=model.inputs[:1], ops=(), outputs=("dense",))
        batch_from_inputs(build(plain, {}), (dense,))


def test_large_integers_as_numbers_are_refused() -> None:
    class Numeric(nn.Module):
        def forward(self, count: Tensor) -> Tensor:
            return torch.log1p(count.float())[:, None]

    model = from_torch(Numeric(), (torch.tensor([1, 2]),))
    assert_agrees(model, Numeric(), (torch.tensor([5, 1 << 20]),))
    with pytest.raises(BatchError, match=r"integers up to 16777216.*count"):
        batch_from_inputs(model, (torch.tensor([1 << 30]),))
