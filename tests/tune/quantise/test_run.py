"""The search with real engines, on the bundled models and the ratings held out from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recstack.data.paired_metrics import parse_metric
from recstack.engine.precision import LayerPrecision
from recstack.errors import ConfigError
from recstack.model.model import build
from recstack.model.ops import Linear
from recstack.precision.budget import parse_budget
from recstack.precision.proof import prove
from recstack.tune.quantise import QuantiseConfig, Quantised, offer, quantise
from recstack.tune.quantise.costs import plan_bytes
from recstack.tune.quantise.measured import Scored, divergence
from tests.precision.movielens import COLUMN, LAYER, planted, ratings

NE = parse_metric("ne")
MEMORY = QuantiseConfig(objective="memory")


@pytest.mark.parametrize("name", ["wnd", "din"])
def test_a_plan_a_third_the_size_is_proven_within_a_twentieth_of_a_per_cent(name: str) -> None:
    model, data = ratings(name)
    found = quantise(model, data, NE, parse_budget("0.05%"), MEMORY)
    assert found.outcome.verdict == "proven"
    fp32 = sum(u.ladder[-1].cost for u in found.units)
    assert plan_bytes(model, found.plan) < 0.32 * fp32
    assert prove(model, found.plan, data, NE, parse_budget("0.05%")).holds


def test_the_search_splits_off_exactly_the_planted_column() -> None:
    model, data = planted()
    found = quantise(model, data, NE, parse_budget("0.05%"), MEMORY)
    clean = quantise(*ratings("wnd"), NE, parse_budget("0.05%"), MEMORY)
    assert found.plan.layer(LAYER) == LayerPrecision("int8", outliers=(COLUMN,))
    assert found.plan.tables == clean.plan.tables
    others = {n: p for n, p in found.plan.layers.layers.items() if n != LAYER}
    assert others == {n: p for n, p in clean.plan.layers.layers.items() if n != LAYER}


def test_the_search_moves_exactly_the_planted_layer_where_columns_cannot_be_split(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(offer, "columns_that_stand_out", lambda *_: ())
    found, clean = (
        quantise(*of, NE, parse_budget("0.05%"), MEMORY).plan for of in (planted(), ratings("wnd"))
    )
    assert clean.layer(LAYER).format == "int8"
    assert found.layer(LAYER).format == "fp16"
    assert found.tables == clean.tables
    kept = {n: p for n, p in found.layers.layers.items() if n != LAYER}
    assert kept == {n: p for n, p in clean.layers.layers.items() if n != LAYER}


def test_a_plan_whose_scores_are_not_finite_is_past_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = Scored._scores

    def scores(self, state, part):
        found = real(self, state, part)
        return found if self._plan(state).layer(LAYER).format == "fp32" else found * np.nan

    monkeypatch.setattr(Scored, "_scores", scores)
    model, data = ratings("wnd")
    found = quantise(model, data, NE, parse_budget("0.05%"), MEMORY)
    assert found.outcome.verdict == "proven" and found.plan.layer(LAYER).format == "fp32"
    assert found.plan.layer("relu").format != "fp32"
    record = found.to_record(model, "ne", parse_budget("0.05%"))
    assert record["tried"][0]["harm"] is None and record["tried"][-1]["harm"]["high"] < 5e-4


def test_layers_are_timed_and_int8_is_chosen_where_it_is_faster() -> None:
    model, data = ratings("wnd")
    found = quantise(model, data, NE, parse_budget("0.05%"), QuantiseConfig(rows=64))
    assert found.plan.layer("relu_1").format != "fp32"
    assert found.plan.layer("linear_3").format == "fp32"


def test_formats_that_cannot_hold_a_table_or_layer_are_not_on_offer() -> None:
    model, data = ratings("wnd")
    weights = {n: np.array(w) for n, w in model.weights.items()}
    first, second = [op for op in model.ops if isinstance(op, Linear)][1:3]
    weights["movie.weight"][3, 0] = 1e6  # past fp16's, so past the bias of int4 too
    weights["user.weight"][5, 1] = np.nan  # of a user whom nobody asks about
    weights[first.weight][3] *= 1e6
    weights[first.bias][3] *= 1e6
    weights[second.weight][:, 3] /= 1e6
    config = MEMORY.model_copy(update={"layers": ("fp16",)})
    budget = parse_budget("0.05%")
    found = quantise(build(model.description, weights), data, NE, budget, config)
    assert found.outcome.verdict == "proven"
    assert found.plan.table("movie.weight") == "int8" and found.plan.table("user.weight") == "fp32"
    assert found.notes["user.weight"] == "no cheaper format fits"
    names = [o.output for o in (first, second)]
    assert [found.plan.layer(n).format for n in names] == ["fp32", "fp16"]


def test_a_model_in_few_bits_already_is_refused() -> None:
    model, data = ratings("wnd")
    coarse = model.with_table_formats({"movie.weight": "int8"})
    with pytest.raises(ConfigError, match="quantise the original model"):
        quantise(coarse, data, NE, parse_budget("0.05%"), MEMORY)


def test_small_data_prove_nothing() -> None:
    model, data = ratings("wnd")
    few = data.take(np.flatnonzero(np.isin(data.groups, np.unique(data.groups)[:12])))
    found = quantise(model, few, NE, parse_budget("0.0001%"), MEMORY)
    assert found.outcome.verdict == "too_small"
    assert found.outcome.rows_needed > few.rows
    assert "too small to prove" in found.reason
    assert all(f == "fp32" for f in found.plan.tables.values())


class Killed(Exception):
    """Stands for the end of the process."""


def test_a_search_that_was_killed_goes_on_to_the_same_plan(tmp_path: Path, monkeypatch) -> None:
    model, data = planted()

    def run(journal: Path | None) -> Quantised:
        return quantise(model, data, NE, parse_budget("0.004%"), MEMORY, journal=journal)

    whole = run(None)
    assert len(whole.outcome.steps) > 4
    path, real, runs = tmp_path / "journal.jsonl", Scored._scores, 0

    def dying(self, state, part):
        nonlocal runs
        runs += 1
        if runs % 4 == 0:
            raise Killed
        return real(self, state, part)

    monkeypatch.setattr(Scored, "_scores", dying)
    kills = 0
    while True:
        try:
            again = run(path)
            break
        except Killed:
            kills += 1
            with path.open("a") as file:
                file.write('{"question": "cut sho')
    assert kills > 2
    assert (again.plan, again.outcome) == (whole.plan, whole.outcome)
    monkeypatch.setattr(Scored, "_scores", None)
    assert run(path).plan == whole.plan
    with pytest.raises(ConfigError, match="journal of this search"):
        quantise(model, data, NE, parse_budget("0.05%"), MEMORY, journal=path)


def test_groups_are_never_on_both_sides() -> None:
    _, data = ratings("wnd")
    first, second = data.halves(seed=3)
    assert not set(first.groups) & set(second.groups)
    assert first.rows + second.rows == data.rows
    assert abs(len(set(first.groups)) - len(set(second.groups))) <= 1


def test_divergence_of_probabilities_and_of_other_scores() -> None:
    p = np.full((4, 1), 0.5)
    assert divergence(p, p) == 0
    expected = 0.5 * np.log(0.5 / 0.6) + 0.5 * np.log(0.5 / 0.4)
    assert divergence(p, p + 0.1) == pytest.approx(expected)
    scores = np.array([[0.0], [10.0]])
    assert divergence(scores, scores + 1) == pytest.approx(1 / 25)
    assert divergence(p, p * np.nan) > 1e300
