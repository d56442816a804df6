"""The committed model folders, run by the engine alone, score as torch did."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import recstack as rs
from recstack.data import metrics, movielens

FOLDER = Path(__file__).parents[2] / "examples" / "movielens"


@pytest.fixture(scope="module")
def held_out():
    data = movielens.load(FOLDER / "data" / "ratings.csv.gz", FOLDER / "data" / "movies.csv.gz")
    _, valid, test = movielens.split(data)
    features = movielens.Features(data, train_until=int(data.time[valid[0]]))
    rows = features.of(data.user[test], data.movie[test], data.time[test])
    return rows, data.liked[test], features


@pytest.fixture(scope="module")
def trained():
    return json.loads((FOLDER / "checkpoints" / "metrics.json").read_text())["models"]


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_auc_is_torchs_and_above_logistic_regression(name, held_out, trained) -> None:
    rows, labels, _ = held_out
    model = rs.load(FOLDER / "models" / name)
    batch = rows.batch([i.name for i in model.sparse])
    scores = rs.compile(model).run(batch)[:, 0].astype(np.float64)
    auc = metrics.auc(labels, scores)
    assert auc == pytest.approx(trained[name]["by_user"]["auc"]["value"], abs=1e-6)
    assert all(auc > trained[lr]["by_user"]["auc"]["value"] for lr in ("lr", "lr-dense", "lr-all"))


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_a_query_with_the_user_once_scores_as_rows_do(name, held_out) -> None:
    _, _, features = held_out
    model = rs.load(FOLDER / "models" / name)
    assert {i.name for i in model.inputs if i.scope == "user"} >= {"user", "user_dense"}
    engine = rs.compile(model)
    names = [i.name for i in model.sparse]
    for query in movielens.queries(features, names, 3, rows=[5, 40], seed=0):
        np.testing.assert_allclose(
            engine.run(query.batch), rs.reference(model, query.batch), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_folders_are_small(name) -> None:
    assert sum(f.stat().st_size for f in (FOLDER / "models" / name).iterdir()) < 5_000_000
