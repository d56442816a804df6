from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recstack.data import LabelledData, random_batch
from recstack.data.paired_metrics import metric_of, parse_metric
from recstack.engine import compile
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.model import build
from recstack.precision.budget import parse_budget
from recstack.precision.plan import uniform
from recstack.precision.proof import check_labels, largest_losses, prove, score
from recstack.tune.quantise import QuantiseConfig, quantise
from tests.precision.movielens import planted, ratings

NE = parse_metric("ne")


def right(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    return (scores > 0.5) != labels


@pytest.mark.parametrize("name", ["wnd", "din"])
@pytest.mark.parametrize(
    ("table", "layer", "budget"),
    [("int8", "fp32", "0.002%"), ("int4", "fp32", "0.02%"), ("fp32", "int8", "0.05%"),
     ("fp32", "bf16", "0.02%"), ("fp32", "fp16", "0.002%"), ("int4", "int8", "0.05%")],
)  # fmt: skip
def test_real_models_keep_their_normalised_entropy(name, table, layer, budget) -> None:
    model, data = ratings(name)
    proof = prove(model, uniform(model, table, layer), data, NE, parse_budget(budget))
    assert proof.holds, proof.judgement.reason
    assert proof.judgement.worst.rows == 20_001
    assert proof.judgement.worst.groups == 147


def test_a_planted_outlier_is_not_passed() -> None:
    model, data = planted()
    proof = prove(model, uniform(model, "fp32", "int8"), data, NE, parse_budget("0.05%"))
    assert not proof.holds


@pytest.mark.parametrize("metric", ["auc", "logloss", "ne"])
def test_little_data_prove_nothing_and_say_how_many_rows_would(metric: str) -> None:
    model, data = ratings("wnd")
    users = np.unique(data.groups)[:20]
    few = data.take(np.flatnonzero(np.isin(data.groups, users)))
    plan = uniform(model, "int4", "int8")
    proof = prove(model, plan, few, parse_metric(metric), parse_budget("0.05%"))
    assert proof.judgement.outcome != "within"
    assert "groups" in proof.judgement.reason


def test_labels_must_be_of_every_output() -> None:
    model, data = ratings("wnd")
    two = LabelledData(data.inputs, data.batch, np.repeat(data.labels, 2, axis=1), data.groups)
    with pytest.raises(ConfigError, match="labels of 1 tasks"):
        check_labels(model, two)


@pytest.mark.parametrize("metric", ["auc", f"{__name__}:right"])
def test_a_few_rows_whose_order_stays_prove_nothing(metric: str) -> None:
    model, data = ratings("wnd")
    first, second = np.unique(data.groups)[:2]
    few = data.take(np.concatenate([np.flatnonzero(data.groups == g)[:4] for g in (first, second)]))
    labels = np.array([0, 1, 0, 1, 1, 0, 0, 1], np.float32)[:, None]
    few = LabelledData(few.inputs, few.batch, labels, few.groups)
    of = metric_of(right, metric) if ":" in metric else parse_metric(metric)
    proof = prove(model, uniform(model, "fp16", "fp32"), few, of, parse_budget("0.05%"))
    assert proof.judgement.worst.candidate == proof.judgement.worst.reference
    assert proof.judgement.outcome == "unproven"


def closed_world(users: int = 120, items: int = 200) -> tuple[Model, LabelledData]:
    """Every user of a small NCF before every item, the positive one drawn at random."""
    model = zoo.build("ncf", rows_scale=1e-2, seed=3)
    weights = {n: w * np.float32(3 if w.ndim == 2 else 1) for n, w in model.weights.items()}
    model = build(model.description, weights)
    batch = random_batch(model, rows=users * items, queries=users, seed=1)
    labels = np.zeros((users, items), np.float32)
    labels[np.arange(users), np.random.default_rng(2).integers(0, items, users)] = 1
    return model, LabelledData(model.inputs, batch, labels.reshape(-1, 1), closed=True)


def test_closed_data_prove_what_a_user_who_may_lose_all_does_not() -> None:
    model, data = closed_world()
    plan, metric, budget = uniform(model, "int8", "fp32"), parse_metric("hr@10/100"), "0.01"
    for closed, outcome in ((True, "within"), (False, "unproven")):
        given = replace(data, closed=closed)
        proof = prove(model, plan, given, metric, parse_budget(budget))
        assert proof.judgement.outcome == outcome, proof.judgement.reason


def test_the_largest_loss_is_that_of_all_data_and_reads_no_label() -> None:
    model, data = closed_world()
    metric = parse_metric("hr@10/100")
    before, after = (score(compile(m), data) for m in (model, quantised(model)))
    whole = largest_losses(metric, data, [(data, before, after)])
    halves = data.halves(0)
    scored = [(h, score(compile(model), h), score(compile(quantised(model)), h)) for h in halves]
    assert largest_losses(metric, data, scored) == whole and whole is not None
    assert 0 < whole[0] < 0.5
    other = replace(data, labels=np.roll(data.labels, 7, axis=0))
    assert largest_losses(metric, other, [(other, before, after)]) == whole
    assert largest_losses(metric, replace(data, closed=False), scored) is None
    assert largest_losses(parse_metric("hr@10"), data, scored) is None
    assert largest_losses(metric, data, [(data, before, after * np.nan)]) is None


def quantised(model: Model) -> Model:
    return model.with_table_formats(dict.fromkeys(model.table_formats, "int8"))


def test_a_search_on_half_of_closed_data_knows_what_the_other_half_may_lose() -> None:
    model, data = closed_world(users=160)
    config = QuantiseConfig(objective="memory", tables=("int8",), layers=())
    metric, budget = parse_metric("hr@10/100"), parse_budget("0.02")
    found = {
        closed: quantise(model, replace(data, closed=closed), metric, budget, config).outcome
        for closed in (True, False)
    }
    assert found[True].verdict == "proven", found[True].steps[-1].judgement.reason
    assert found[False].verdict == "too_small"
