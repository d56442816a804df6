"""Plans of precision: what they may name, and that names survive the planner's rewrites."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine import ActivationRange, EngineConfig, LayerPlan, LayerPrecision, quantisable
from recstack.engine.native.build import make_plan
from recstack.engine.precision import check_plan
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model.ops import AttentionPooling, Augru, Cross, Gru, GruCell, Linear

ZOO = [(name, variant) for name in zoo.names() for variant in zoo.variants(name)]
IDS = [f"{name}-{variant or 'proper'}" for name, variant in ZOO]
LAYERS = (Linear, Cross, Gru, Augru, GruCell, AttentionPooling)


def small(name: str, variant: str | None = None) -> Model:
    return zoo.build(name, variant=variant, rows_scale=0.0005)


@pytest.mark.parametrize(("name", "variant"), ZOO, ids=IDS)
def test_every_dense_weight_belongs_to_a_layer_that_a_plan_may_name(name, variant) -> None:
    model = small(name, variant)
    named = set(quantisable(model))
    assert named and named <= {op.output for op in model.ops}
    matrices = {
        w for op in model.ops if isinstance(op, LAYERS) for w in op.weights()
        if len(model.weights[w].shape) == 2
    }  # fmt: skip
    of_named = {w for op in model.ops if op.output in named for w in op.weights()}
    assert matrices <= of_named


@pytest.mark.parametrize(("name", "variant"), ZOO, ids=IDS)
def test_every_planned_layer_is_found_in_the_model_as_given(name, variant) -> None:
    model = small(name, variant)
    plan = make_plan(model)
    assert {layer for layers in plan.layers.values() for layer in layers} == set(quantisable(model))


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (LayerPlan(layers={"nope": LayerPrecision()}), r"expected a layer of 'ncf'.*'nope'"),
        (
            LayerPlan(layers={"mlp.0": LayerPrecision("int8", outliers=(900,))}),
            "128, got 900",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_model_is_refused(plan, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        rs.compile(small("ncf"), EngineConfig(precision=plan))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LayerPrecision("int4"), "expected one of fp32, bf16, fp16, int8, got 'int4'"),
        (lambda: LayerPrecision("bf16", ActivationRange(0, 1)), "with int8 only"),
        (lambda: LayerPrecision("int8", outliers=(3, 3)), "ascending"),
        (lambda: LayerPrecision("int8", outliers=(-1,)), "ascending"),
        (lambda: ActivationRange(1, 0), "low <= high"),
        (lambda: ActivationRange(0, np.inf), "finite"),
        (lambda: LayerPlan(LayerPrecision("int8", ActivationRange(0, 1))), "per layer"),
    ],
)
def test_a_precision_that_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make()


def test_steps_of_an_unrolled_rnn_are_one_layer() -> None:
    model = small("dien", "deeprecsys")
    shared = {w: [] for op in model.ops if isinstance(op, Linear) for w in [op.weight]}
    for op in model.ops:
        if isinstance(op, Linear):
            shared[op.weight].append(op.output)
    first, *others = max(shared.values(), key=len)
    assert others and first in quantisable(model) and not set(others) & set(quantisable(model))
    with pytest.raises(ConfigError, match=f"shares its weight with '{first}'"):
        check_plan(LayerPlan(layers={others[0]: LayerPrecision()}), model)


def test_a_config_with_a_plan_is_data() -> None:
    plan = LayerPlan(LayerPrecision("bf16"), {"a": LayerPrecision("int8", ActivationRange(-1, 2))})
    config = EngineConfig(precision=plan)
    assert EngineConfig.model_validate_json(config.model_dump_json()) == config
    assert hash(config) == hash(EngineConfig(precision=plan))
