"""The examples' networks import whole and score as in torch, short histories included."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import pytest

import recstack as rs
from recstack.data import behaviour, census, ncf, read_labelled
from recstack.data.rows import Rows

torch = pytest.importorskip("torch")


SHARED = ("learning.handover", "learning.fit")


def sequences(rows: int) -> Rows:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 40)
    data = behaviour.Behaviour(
        items=rng.integers(0, 30, lengths.sum()),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        users=np.arange(40),
        ids=np.arange(30),
        attributes=(rng.integers(0, 12, 60), np.full(30, 2, np.int32)),
        attribute_ids=np.arange(12),
    )
    features = behaviour.Features(data, history=5)
    user = rng.integers(0, 40, rows)
    return features.of(user, rng.integers(1, lengths[user] + 1), rng.integers(0, 30, rows))


def randomised(net):
    """Eval mode, weights and statistics drawn, so that no part of it is 0 or 1 by default."""
    draw = torch.Generator().manual_seed(0)
    for name, value in net.state_dict().items():
        if value.dtype == torch.float32:
            low, width = (0.5, 1.0) if name.endswith("running_var") else (-1.0, 2.0)
            value.copy_(torch.rand(value.shape, generator=draw) * width + low)
    return net.eval()


def assert_agrees(net, inputs, rows, model) -> None:
    batch = rows.batch([i.name for i in model.sparse])
    with torch.inference_mode():
        wanted = net(*inputs).numpy()
    found = rs.compile(model).run(batch)
    assert np.ptp(wanted) > 0.05
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("DIN", {"attention_pooling": 1, "dice": 2}), ("DIEN", {"gru": 1, "augru": 1, "dice": 2})],
)
def test_beauty(modules, name, kinds) -> None:
    example = modules("beauty", "models", "train", *SHARED)
    rows = sequences(50)
    assert (rows.sparse["history"][1] < 5).any()
    net = randomised(getattr(example["models"], name)(31, 13, item=6, category=4, hidden=(12, 8)))
    model = example["learning.handover"].imported(
        net, example["train"].tensors(rows.take(np.arange(3))), rows.schema,
        ("history", "history_category"), name, {"attributes_values": "attributes"},
    )  # fmt: skip
    assert {i.name for i in model.inputs if i.scope == "user"} == {"history", "history_category"}
    ops = [op.kind for op in model.ops]
    assert {kind: ops.count(kind) for kind in kinds} == kinds
    assert_agrees(net, example["train"].tensors(rows), rows, model)


def test_lastfm(modules) -> None:
    example = modules("lastfm", "model", "train", *SHARED)
    rng = np.random.default_rng(0)
    rows = ncf.rows(rng.integers(0, 20, 40), rng.integers(0, 30, 40))
    net = randomised(example["model"].NeuMF(20, 30, gmf=4, dim=6, hidden=(8, 4)))
    inputs = example["train"].tensors(rows)
    model = example["learning.handover"].imported(net, inputs, ncf.SCHEMA, ("user",), "ncf", {})
    assert_agrees(net, inputs, rows, model)


def census_rows(rows: int) -> Rows:
    rng = np.random.default_rng(0)
    one = np.ones(rows, np.int32)
    sparse = {name: (rng.integers(0, 5, rows), one) for name in census.CATEGORICAL}
    dense = rng.normal(size=(rows, len(census.DENSE))).astype(np.float32)
    return Rows(census.SCHEMA, np.zeros((rows, 0), np.float32), dense, MappingProxyType(sparse))


@pytest.fixture
def census_case(modules):
    example = modules("census", "model", "train", *SHARED)
    rows = census_rows(40)
    net = example["model"].MultiTaskWideDeep(7, [5] * 32, dim=2, shared=(8,), tower=(4,))
    inputs = example["train"].tensors(rows)
    renamed = {f"features.{i}": name for i, name in enumerate(census.CATEGORICAL)}
    handover = example["learning.handover"]
    randomised(net)
    for table in net.wide:
        table.weight.data *= 0.2
    model = handover.imported(net, inputs, census.SCHEMA, (), "census", renamed)
    return net, inputs, rows, model, handover


def test_census(census_case) -> None:
    net, inputs, rows, model, _ = census_case
    assert [i.name for i in model.sparse] == [*census.CATEGORICAL]
    assert_agrees(net, inputs, rows, model)


def test_what_is_handed_over_is_read_back(census_case, tmp_path) -> None:
    net, inputs, rows, model, handover = census_case
    labels = np.random.default_rng(1).integers(0, 2, (40, 2))
    held_out = {"test": handover.labelled(rows, model, labels)}
    with torch.inference_mode():
        scores = {"test": net(*inputs).double().numpy()}
    record = handover.deliver(tmp_path, model, held_out, scores, {"model": "census"}, seed=0)
    assert record["auc_apart"] <= 1e-6
    loaded = rs.load(tmp_path / "model")
    data = read_labelled(tmp_path / "test.safetensors", loaded.inputs)
    assert np.array_equal(data.labels, labels)
    np.testing.assert_allclose(rs.compile(loaded).run(data.batch), scores["test"], atol=2e-6)
    scores["test"][:, 1] *= -1
    with pytest.raises(SystemExit, match="AUC differs from torch's"):
        handover.deliver(tmp_path, model, held_out, scores, {}, seed=0)


def test_training_keeps_the_best_epoch(modules) -> None:
    fit = modules("census", *SHARED)["learning.fit"]
    figures = iter([0.1, 0.7, 0.3, 0.2, 0.9])
    seen = []

    def quality(net) -> float:
        seen.append(float(net.weight.detach()[0, 0]))
        return next(figures)

    def loss(net, batch):
        return net(torch.ones(4, 1)).mean()

    recipe = fit.Recipe(epochs=5, patience=2, average=0.5)
    net, history = fit.fit(
        lambda: torch.nn.Linear(1, 1), lambda rng: range(3), loss, quality, recipe, seed=0
    )
    assert history == [0.1, 0.7, 0.3, 0.2]
    assert float(net.weight.detach()[0, 0]) == seen[1] != seen[2] and not net.training


def test_lastfm_ranks_every_item_that_a_user_has_not_touched(modules, tmp_path) -> None:
    example = modules("lastfm", "model", "train", *SHARED)
    rng, users, items = np.random.default_rng(0), 20, 130
    trained = np.unique(rng.integers([1, 1], [users + 1, items + 1], (200, 2)), axis=0)
    seen = {tuple(pair) for pair in trained.tolist()}
    test_item = [next(i for i in range(u, items) if (u, i) not in seen) for u in range(1, users)]
    data = ncf.Ratings(
        user=trained[:, 0], item=trained[:, 1],
        test_user=np.arange(1, users), test_item=np.array(test_item),
        negatives=(np.ones(users - 1, np.int64), np.ones(users - 1, np.int32)),
        users=np.arange(users), items=np.arange(items),
    )  # fmt: skip
    net = randomised(example["model"].NeuMF(users + 1, items + 1, gmf=4, dim=6, hidden=(8, 4)))
    rows = ncf.rows(data.test_user, data.test_item)
    model = example["learning.handover"].imported(
        net, example["train"].tensors(rows), ncf.SCHEMA, ("user",), "ncf", {}
    )
    figures = example["train"].wide_ranking(data, model, tmp_path)
    assert 0 <= figures["ndcg@10/100"] <= figures["hr@10/100"] <= 1
    found = read_labelled(tmp_path / "ranking-all.safetensors", model.inputs)
    assert found.closed and (found.groups == data.test_user).all()
    for q, user in enumerate(data.test_user.tolist()):
        part = found.part(q, q + 1)
        asked = part.batch.values[1:].tolist()
        assert part.batch.values[0] == user and asked[0] == test_item[q]
        wanted = {i for i in range(1, items + 1) if (user, i) not in seen}
        assert set(asked) == wanted and len(asked) == len(wanted)
        assert part.labels[:, 0].tolist() == [1.0] + [0.0] * (len(asked) - 1)


def test_beauty_ranks_every_user_in_chunks_as_at_once(modules, tmp_path, monkeypatch) -> None:
    example = modules("beauty", "models", "train", *SHARED)
    train = example["train"]
    beauty = train.Beauty.__new__(train.Beauty)
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 9, 25)
    beauty.data = behaviour.Behaviour(
        items=rng.integers(0, 300, lengths.sum()),
        starts=np.concatenate([[0], np.cumsum(lengths)]),
        users=np.arange(25), ids=np.arange(300),
        attributes=(rng.integers(0, 12, 600), np.full(300, 2, np.int32)),
        attribute_ids=np.arange(12),
    )  # fmt: skip
    beauty.features = behaviour.Features(beauty.data, train.HISTORY)
    owner = np.repeat(np.arange(25), lengths)
    beauty.unseen = train.Unseen(owner, beauty.data.items, 300)
    limits = beauty.features.table_rows
    sizes = {"item": 6, "category": 4, "hidden": (12, 8)}
    net = randomised(example["models"].DIN(limits["item"], limits["attributes"], **sizes))
    rows = beauty.requests("test", 1).rows
    model = example["learning.handover"].imported(
        net, train.tensors(rows.take(np.arange(3))), rows.schema,
        ("history", "history_category"), "din", {"attributes_values": "attributes"},
    )  # fmt: skip
    monkeypatch.setattr(train, "WIDE_CHUNK", 7)
    train.wide_ranking(beauty, model, tmp_path)
    found = read_labelled(tmp_path / "ranking-200.safetensors", model.inputs)
    assert found.queries == 25 and found.rows == 25 * 200 and not found.closed
    assert found.labels[:, 0].reshape(25, 200).sum(axis=0).tolist() == [25] + [0] * 199
    # The positive rows, history included, are those of the other ranking.
    few = beauty.requests("test", 3)
    few = example["learning.handover"].labelled(few.rows, model, few.labels, few.offsets)
    scores = [rs.compile(model).run(d.batch)[d.labels > 0] for d in (found, few)]
    np.testing.assert_array_equal(*scores)
