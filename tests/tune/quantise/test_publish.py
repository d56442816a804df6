from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import parse_metric
from recstack.engine import Engine, compile
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision, quantisable
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.model import build
from recstack.model.ops import Linear
from recstack.precision import proof as proof_module
from recstack.precision.budget import Judgement, parse_budget
from recstack.precision.calibrate import static_ranges, with_ranges
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import Proof, prove
from recstack.rows import RowFormat
from recstack.tune.quantise import measured as measured_module
from recstack.tune.quantise import publish as publish_module
from recstack.tune.quantise.measured import Scored
from recstack.tune.quantise.publish import publish
from recstack.tune.quantise.units import State

NE = parse_metric("ne")


def make(outlier: float = 1.0, rows_scale: float = 1e-4) -> Model:
    """A small RM1; `outlier` scales one column that its first top layer reads, and back."""
    model = zoo.build(
        "rm1", rows_scale=rows_scale, tables=(100, 100), lookups=3, dense=8, bottom=(32, 16),
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


@pytest.mark.parametrize(
    ("kind", "value"), [("int4", np.nan), ("int4", 1e6), ("fp16", 1e6), ("fp16", np.inf)]
)
def test_a_table_that_its_format_cannot_hold_is_given_up(kind: str, value: float) -> None:
    model = make(rows_scale=1.0)
    first, second = tables_of(model)
    weights = {n: np.array(w) for n, w in model.weights.items()}
    weights[first][-1, 0] = value
    data = labelled(model)
    values = np.where(data.batch.values == len(weights[first]) - 1, 0, data.batch.values)
    data = replace(data, batch=data.batch.replace(values=values))  # nobody asks for that row
    plan = replace(plan_for(model), tables={first: RowFormat(kind), second: RowFormat.INT8})
    found = publish(build(model.description, weights), plan, data, NE, parse_budget("0.5%"))
    assert found.verdict == "proven"
    assert dict(found.given_up) == {first: f"given up: {kind} cannot hold these weights"}
    assert found.plan.table(first) == "fp32" and found.plan.table(second) == "int8"


def test_a_layer_that_its_format_cannot_hold_is_given_up() -> None:
    model = make(outlier=1e7)
    first = next(op for op in model.ops if isinstance(op, Linear))
    assert np.abs(model.weights[first.weight]).max() > 65504
    layers = dict.fromkeys(quantisable(model), LayerPrecision("fp16"))
    plan = PrecisionPlan(layers=LayerPlan(layers=layers))
    found = publish(model, plan, labelled(model), NE, parse_budget("0.5%"))
    assert found.verdict == "proven"
    assert dict(found.given_up) == {first.output: "given up: fp16 cannot hold these weights"}


@pytest.mark.parametrize("activations", [None, ActivationRange(-1.0, 1.0)])
@pytest.mark.parametrize(
    ("missing", "why"),
    [("class", "both classes"), ("group", "at least two groups"), ("labels", "labels for task 0"),
     ("rows", "at least two groups")],
)  # fmt: skip
def test_labels_that_can_prove_nothing_end_in_fp32(
    missing: str, why: str, activations: ActivationRange | None
) -> None:
    model = make()
    data = labelled(model, 80)
    if missing == "group":
        data = replace(data, groups=np.zeros(data.queries, np.int64))
    elif missing == "rows":
        data = data.part(0, 0)
    else:
        fill = np.nan if missing == "labels" else 0
        data = replace(data, labels=np.full_like(data.labels, fill))
    plan = plan_for(model)
    layers = {n: LayerPrecision("int8", activations) for n in plan.layers.layers}
    plan = replace(plan, layers=LayerPlan(layers=layers))
    found = publish(model, plan, data, NE, parse_budget("0.000001%"))
    assert found.is_fp32 and found.verdict == "too_small"
    assert set(found.given_up) == {*tables_of(model), *quantisable(model)}
    assert all(why in note for note in found.given_up.values()) or missing == "rows"
    text = found.plan.to_toml(found.given_up)
    assert text.count("# given up: expected") == len(found.given_up)


def test_a_layer_whose_scores_are_not_finite_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    bad = quantisable(model)[1]
    real = proof_module.score

    def scores(executor: Engine, data: LabelledData) -> np.ndarray:
        found = real(executor, data)
        return found * np.nan if "int8" in executor.formats[bad] else found

    for module in (proof_module, measured_module):
        monkeypatch.setattr(module, "score", scores)
    found = publish(model, plan_for(model), labelled(model), NE, parse_budget("0.5%"))
    assert dict(found.given_up) == {bad: publish_module.UNPROVEN} and found.verdict == "proven"


def test_weights_that_score_nan_in_fp32_are_an_error() -> None:
    model = make()
    weights = {n: np.array(w) for n, w in model.weights.items()}
    last = [op for op in model.ops if isinstance(op, Linear)][-1]
    weights[last.weight][0] = np.nan
    with pytest.raises(ConfigError, match="expected finite scores to compare with, got nan"):
        publish(
            build(model.description, weights), plan_for(model), labelled(model), NE,
            parse_budget("0.5%"),
        )  # fmt: skip


def test_what_saves_time_but_no_bytes_is_kept_or_said_to_be_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = make(outlier=3e4)
    monkeypatch.setattr(publish_module, "table_bytes", lambda *_: 100)
    monkeypatch.setattr(publish_module, "layer_bytes", lambda *_: 100)
    plan = replace(plan_for(model), greedy=False)
    found = publish(model, plan, labelled(model), NE, parse_budget("0.5%"))
    assert found.verdict == "proven" and found.given_up and not found.plan.greedy
    lowered = {n for n, f in found.plan.tables.items() if f != "fp32"}
    lowered |= {n for n, p in found.plan.layers.layers.items() if p.format != "fp32"}
    assert lowered and lowered | set(found.given_up) == {*tables_of(model), *quantisable(model)}
    assert not lowered & set(found.given_up)


def test_what_is_proven_is_what_is_handed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make(outlier=3e4, rows_scale=1.0), []
    real = Model.with_table_formats

    def made(self: Model, formats, *, greedy: bool = True) -> Model:
        seen.append(greedy)
        return real(self, formats, greedy=greedy)

    monkeypatch.setattr(Model, "with_table_formats", made)
    plan = replace(plan_for(model), greedy=False)
    assert publish(model, plan, labelled(model), NE, parse_budget("0.5%")).given_up
    assert len(seen) > 1 and not any(seen)


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
