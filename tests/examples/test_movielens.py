"""The committed MovieLens checkpoints score as their README says."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "movielens"
pytest.importorskip("torch")


@pytest.fixture(scope="module")
def example(modules):
    return modules("movielens", "models", "dataset", "training", "baseline", "evaluate")


@pytest.fixture(scope="module")
def data(example):
    return example["dataset"].read()


@pytest.fixture(scope="module")
def report():
    return json.loads((FOLDER / "checkpoints" / "metrics.json").read_text())


@pytest.fixture(scope="module")
def scores(example, data):
    return example["evaluate"].test_scores(data, FOLDER / "checkpoints")


def test_checkpoints_are_small_and_never_pickled():
    files = sorted((FOLDER / "checkpoints").iterdir())
    assert {"wnd.safetensors", "din.safetensors", "ncf.safetensors"} <= {f.name for f in files}
    for file in files:
        assert file.suffix in (".safetensors", ".json"), file
        assert file.stat().st_size < 5_000_000, file


def test_metrics_are_those_of_the_checkpoints(data, scores, report):
    from recstack.data.metrics import auc, log_loss

    labels = data.parts["test"].labels
    assert set(report["models"]) == set(scores)
    for name, found in scores.items():
        stated = report["models"][name]["by_user"]
        assert auc(labels, found) == pytest.approx(stated["auc"]["value"], abs=1e-6), name
        assert log_loss(labels, found) == pytest.approx(stated["log_loss"]["value"], abs=1e-6), name


@pytest.mark.parametrize("model", ["wnd", "din"])
def test_stated_gains_over_logistic_regression(report, model):
    """Above every baseline; by rows, clear of zero for the one with ids and genres (README)."""
    gains = report["models"][model]["by_row"]["auc_gain"]
    assert set(gains) == {"lr-dense", "lr", "lr-all"}
    assert all(gain["value"] > 0 for gain in gains.values())
    assert gains["lr"]["low"] > 0


@pytest.mark.parametrize("model", ["wnd", "ncf", "din"])
def test_a_row_scores_the_same_alone_as_in_a_batch(example, data, model):
    net = example["training"].restore(model)
    part = data.parts["test"]
    whole = example["training"].score(net, model, part)
    for at in (0, 17, len(whole) - 1):
        one = example["dataset"].Part(part.rows.take(np.array([at])), part.labels, part.users)
        assert example["training"].score(net, model, one)[0] == pytest.approx(whole[at], abs=1e-6)


def test_hidden_ids_become_unknown_in_every_feature(example, data):
    rows = data.parts["train"].rows.take(np.arange(50))
    every, none = np.ones(50, bool), np.zeros(50, bool)
    hidden = example["dataset"].hide_ids(rows, every, none)
    assert not hidden.sparse["user"][0].any()
    np.testing.assert_array_equal(hidden.sparse["user_x_genre"][0], rows.sparse["genres"][0])
    np.testing.assert_array_equal(hidden.sparse["movie"][0], rows.sparse["movie"][0])
    assert not example["dataset"].hide_ids(rows, none, every).sparse["movie"][0].any()


def test_the_splits_do_not_overlap_in_time(data):
    source = data.features.data
    from recstack.data.movielens import split

    ends = [(source.time[at].min(), source.time[at].max()) for at in split(source)]
    assert ends[0][1] < ends[1][0] <= ends[1][1] < ends[2][0]
    assert data.features.train_until == ends[1][0]
