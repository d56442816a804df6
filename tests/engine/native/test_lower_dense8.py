"""int8 layers in engines, against their NumPy twin bit for bit."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from recstack.engine import EngineConfig, compile, instruction_sets
from recstack.engine.native.build import make_plan
from recstack.engine.native.lower_dense8 import MIN_OUTPUTS
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.engine.reference import reference
from recstack.engine.reference.int8 import linear_int8
from recstack.model import Model
from tests.engine.draft import Draft, make_batch
from tests.engine.quantised_twin import quantised_reference

ISAS = [name for name, supported in instruction_sets().items() if supported]
INT8 = LayerPrecision("int8")
FIXED = LayerPrecision("int8", ActivationRange(-1.5, 2))
SPLIT = LayerPrecision("int8", None, (1, 6))
BOTH = LayerPrecision("int8", ActivationRange(-0.5, 0.5), (0, 6))


def one_layer(k: int, n: int, activation: str = "none") -> Model:
    d = Draft(k + n)
    return d.model(d.linear(d.dense(k), k, n, activation))


def plan_of(model: Model, precision: LayerPrecision) -> LayerPlan:
    return LayerPlan(layers={model.ops[-1].output: precision})


def weights_of(model: Model) -> tuple[np.ndarray, np.ndarray]:
    op = model.ops[-1]
    return model.weights[op.weight], model.weights[op.bias]  # type: ignore[attr-defined]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "precision", [INT8, FIXED, SPLIT, BOTH], ids=["own", "fixed", "split", "both"]
)
@pytest.mark.parametrize(("k", "n"), [(7, 8), (33, 40), (64, 129)])
@pytest.mark.parametrize("activation", ["none", "relu"])
def test_a_layer_is_the_twins_bit_for_bit(isa, precision, k, n, activation) -> None:
    model = one_layer(k, n, activation)
    engine = compile(model, EngineConfig(isa=isa, precision=plan_of(model, precision)))
    for rows in (0, 1, 5, 17, 300):
        batch = make_batch(model, (rows,), seed=rows)
        want = linear_int8(batch.dense, *weights_of(model), activation, precision)
        assert np.array_equal(engine.run(batch), want)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("factor", [1e3, 1e6, 1e12, 1e37])
def test_values_far_past_a_fixed_range_saturate_as_the_twins_do(isa: str, factor: float) -> None:
    model = one_layer(90, 24)
    precision = LayerPrecision("int8", ActivationRange(-1.5, 2), (5, 70))
    engine = compile(model, EngineConfig(isa=isa, precision=plan_of(model, precision)))
    batch = make_batch(model, (20,))
    assert batch.dense is not None
    dense = batch.dense.copy()
    dense[::3] *= np.float32(factor)
    dense[1::3, 7] *= np.float32(factor)
    want = linear_int8(dense, *weights_of(model), "none", precision)
    assert np.isfinite(want).all()
    assert np.array_equal(engine.run(batch.replace(dense=dense)), want)


@pytest.mark.parametrize("isa", ISAS)
def test_threads_and_tiles_change_no_bit(isa: str) -> None:
    model = one_layer(300, 200)
    alone = compile(model, EngineConfig(isa=isa, precision="int8"))
    team = compile(model, EngineConfig(isa=isa, precision="int8", threads=2, tile_rows=3))
    for rows in (1, 2, 20):
        batch = make_batch(model, (rows,), seed=rows)
        assert np.array_equal(team.run(batch), alone.run(batch))


def user_and_item(k: int = 9) -> Model:
    d = Draft()
    item, user, other = d.dense(k), d.dense(6, "user"), d.dense(4)
    return d.model(d.linear(d.op("concat", item, user, other), k + 10, 24, "relu"))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "precision",
    [INT8, FIXED, LayerPrecision("int8", None, (2, 9, 14, 18))],
    ids=["own", "fixed", "split"],
)
def test_a_hoisted_layer_goes_on_from_its_users_part(isa: str, precision: LayerPrecision) -> None:
    model = user_and_item()
    engine = compile(model, EngineConfig(isa=isa, precision=plan_of(model, precision)))
    batch = make_batch(model, (3, 0, 5, 1))
    weight, bias = weights_of(model)
    users, items = [9, 10, 11, 12, 13, 14], [*range(9), *range(15, 19)]
    query_of_row = np.repeat(np.arange(4), (3, 0, 5, 1))
    start = linear_int8(batch.user_dense, weight[:, users], precision=precision.of_columns(users))[
        query_of_row
    ]
    want = linear_int8(
        batch.dense, weight[:, items], bias, "relu", precision.of_columns(items), start
    )
    assert np.array_equal(engine.run(batch), want)
    whole = np.concatenate(
        [batch.dense[:, :9], batch.user_dense[query_of_row], batch.dense[:, 9:]], 1
    )
    exact = np.maximum(whole.astype(np.float64) @ weight.T + bias, 0)
    assert np.abs(want - exact).max() < (2 if precision is FIXED else 0.1)


def test_columns_of_a_part_keep_their_outliers() -> None:
    precision = LayerPrecision("int8", ActivationRange(-1, 1), (2, 9, 14))
    assert precision.of_columns([9, 10, 14]) == LayerPrecision(
        "int8", ActivationRange(-1, 1), (0, 2)
    )


def test_layers_too_narrow_for_int8_run_in_fp32_and_the_engine_says_so() -> None:
    model = one_layer(20, MIN_OUTPUTS - 1)
    batch = make_batch(model, (9,))
    engine = compile(model, EngineConfig(precision="int8"))
    assert np.array_equal(engine.run(batch), compile(model).run(batch))
    assert engine.formats == {model.ops[-1].output: ("fp32",)}
    wide = one_layer(20, MIN_OUTPUTS)
    assert compile(wide, EngineConfig(precision="int8")).formats == {wide.ops[-1].output: ("int8",)}


def test_formats_of_layers_with_several_products() -> None:
    d = Draft()
    history = d.sparse(4, "user")
    x = d.bag(history, dim=3, pooling="none")
    weights = {"weight_ih": d.weight(27, 3), "weight_hh": d.weight(27, 9)}
    last = d.op("gru", x, **weights)
    x0 = d.dense(12)
    cross = d.op("cross", x0, x0, weight_v=d.weight(4, 12), weight_u=d.weight(12, 4))
    own = {"weight_ih": d.weight(27, 3), "weight_hh": d.weight(27, 9)}
    cell = d.op("gru_cell", d.dense(3), last, **own)
    model = d.model(last, cross, cell)
    engine = compile(model, EngineConfig(precision="int8"))
    assert engine.formats == {last: ("int8",), cross: ("fp32", "int8"), cell: ("int8",)}
    plain = compile(model).formats
    assert plain == dict.fromkeys(engine.formats, ("fp32",))


def unit(width: int) -> tuple[Model, str]:
    """An attention unit with layers of `width` and 12 outputs, then its score."""
    d = Draft()
    query, keys = d.dense(6), d.bag(d.sparse(5, "user"), dim=6, pooling="none")
    widths = [24, width, 12, 1]
    layers = [
        {"weight": d.weight(n, k), "bias": d.weight(n), "activation": "relu"}
        for k, n in pairwise(widths)
    ]
    features = ["query", "key", "difference", "product"]
    pooled = d.op("attention_pooling", query, keys, features=features, layers=layers)
    return d.model(pooled), pooled


def test_an_attention_unit_that_is_not_fused_runs_layer_by_layer_in_int8() -> None:
    model, pooled = unit(300)
    layers = compile(model, EngineConfig(precision="int8"))
    assert layers.formats == {pooled: ("int8", "fp32")}  # the last one has one output
    assert "attention_unit" not in [s.kind for s in make_plan(model, precision="int8").steps]
    batch = make_batch(model)
    got, exact = layers.run(batch), reference(model, batch)
    assert 0 < np.abs(got - exact).max() < 0.05 * np.abs(exact).max()
    split = LayerPlan(layers={pooled: LayerPrecision("int8", ActivationRange(-9, 9), (2,))})
    np.testing.assert_allclose(
        compile(model, EngineConfig(precision=split)).run(batch),
        quantised_reference(model, batch, split),
        rtol=1e-4,
    )
