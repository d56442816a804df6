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
