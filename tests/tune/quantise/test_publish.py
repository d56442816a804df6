from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import parse_metric
from recstack.engine import compile
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision, quantisable
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.model import build
from recstack.model.ops import Linear
from recstack.precision.budget import Judgement, parse_budget
from recstack.precision.calibrate import static_ranges, with_ranges
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import Proof, prove
from recstack.rows import RowFormat
from recstack.tune.quantise import publish as publish_module
from recstack.tune.quantise.measured import Scored
from recstack.tune.quantise.publish import publish
from recstack.tune.quantise.units import State

NE = parse_metric("ne")


def make(outlier: float = 1.0) -> Model:
    """A small RM1; `outlier` scales one column that its first top layer reads, and back."""
    model = zoo.build(
        "rm1", rows_scale=1e-4, tables=(100, 100), lookups=3, dense=8, bottom=(32, 16),
        top=(32, 1),
    )  # fmt: skip
    weights = {n: w * np.float32(1.5 if w.ndim == 2 else 1) for n, w in model.weights.items()}
    first, second = [op for op in model.ops if isinstance(op, Linear)][:2]
    up, down = weights[first.weight].copy(), weights[second.weight].copy()
    up[3] *= np.float32(outlier)
    down[:, 3] /= np.float32(outlier)
    weights |= {first.weight: up, second.weight: down}
    return build(model.description, weights)


def labelled(model: Model, queries: int = 1500) -> LabelledData:
    batch = random_batch(model, rows=queries * 4, queries=queries, seed=3)
    scores = compile(model).run(batch)
    labels = np.random.default_rng(4).random(scores.shape) < scores
    return LabelledData(model.inputs, batch, labels.astype(np.float32))


def plan_for(model: Model) -> PrecisionPlan:
    layers = dict.fromkeys(quantisable(model), LayerPrecision("int8"))
    return PrecisionPlan(
        tables=dict.fromkeys(tables_of(model), RowFormat.INT8), layers=LayerPlan(layers=layers)
    )


def test_a_plan_that_still_holds_is_kept_whole() -> None:
    model = make()
    found = publish(model, plan_for(model), labelled(model), NE, parse_budget("0.5%"))
    assert found.plan == plan_for(model) and not found.given_up and not found.is_fp32


def test_the_layer_that_went_bad_is_given_up() -> None:
    model = make(outlier=3e4)
    found = publish(model, plan_for(model), labelled(model), NE, parse_budget("0.5%"))
    second = [op.output for op in model.ops if isinstance(op, Linear)][1]
    assert second in found.given_up
    assert len(found.given_up) <= 2 and not found.is_fp32
    assert "within 0.5" in found.reason


def test_what_cannot_be_proven_ends_in_fp32() -> None:
    model = make()
    found = publish(model, plan_for(model), labelled(model, 60), NE, parse_budget("0.000001%"))
    assert found.is_fp32


def test_static_ranges_are_those_of_the_new_data() -> None:
    model = make()
    plan = plan_for(model)
    fixed = {n: LayerPrecision("int8", ActivationRange(-1e6, 1e6)) for n in plan.layers.layers}
    old = PrecisionPlan(tables=plan.tables, layers=LayerPlan(layers=fixed))
    found = publish(model, old, labelled(model), NE, parse_budget("0.5%"))
    ranges = static_ranges(found.plan.layers)
    assert list(ranges) == list(fixed) and all(r.high < 1e3 for r in ranges.values())


def rows_of(batches: Iterable[Batch]) -> set[bytes]:
    return {row.tobytes() for batch in batches for row in batch.dense}


def test_no_row_finds_a_static_range_and_proves_it(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(outlier=3e4), {"found": set[bytes](), "proven": set[bytes]()}
    data = labelled(model)
    layers = {n: LayerPrecision("int8", ActivationRange(-1e6, 1e6)) for n in quantisable(model)}
    plan = PrecisionPlan(layers=LayerPlan(layers=layers))

    def finding(model: Model, plan: LayerPlan, batches: Iterable[Batch]) -> LayerPlan:
        kept = list(batches)
        seen["found"] |= rows_of(kept)
        return with_ranges(model, plan, kept)

    def proving(model: Model, plan: PrecisionPlan, data: LabelledData, *rest, **more) -> Proof:
        seen["proven"] |= rows_of([data.batch])
        return prove(model, plan, data, *rest, **more)

    real = Scored.prove

    def proving_again(self: Scored, state: State, level: float) -> Judgement:
        seen["proven"] |= rows_of([self._halves[1].batch])
        return real(self, state, level)

    monkeypatch.setattr(publish_module, "with_ranges", finding)
    monkeypatch.setattr(publish_module, "prove", proving)
    monkeypatch.setattr(Scored, "prove", proving_again)
    found = publish(model, plan, data, NE, parse_budget("0.5%"))
    assert found.given_up and not found.is_fp32
    assert seen["found"] and seen["proven"] and not seen["found"] & seen["proven"]
    assert seen["found"] | seen["proven"] == rows_of([data.batch])


def test_a_plan_without_static_ranges_is_proven_on_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, data = make(), labelled(make(), 400)

    def proving(model: Model, plan: PrecisionPlan, rows: LabelledData, *rest, **more) -> Proof:
        assert rows is data
        return prove(model, plan, rows, *rest, **more)

    monkeypatch.setattr(publish_module, "prove", proving)
    assert not publish(model, plan_for(model), data, NE, parse_budget("5%")).is_fp32


def test_a_plan_of_another_model_is_an_error() -> None:
    model = make()
    wrong = PrecisionPlan(tables={"nobody": RowFormat.INT8})
    with pytest.raises(ConfigError, match="nobody"):
        publish(model, wrong, labelled(model, 40), NE, parse_budget("1%"))
