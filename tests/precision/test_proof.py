from __future__ import annotations

import numpy as np
import pytest

from recstack.data import LabelledData
from recstack.data.paired_metrics import metric_of, parse_metric
from recstack.errors import ConfigError
from recstack.precision.budget import parse_budget
from recstack.precision.plan import uniform
from recstack.precision.proof import check_labels, prove
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
