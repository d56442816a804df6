"""Fused attention units in int8, against their NumPy twin bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from recstack.engine import EngineConfig, compile, instruction_sets
from recstack.engine.native.build import make_plan
from recstack.engine.native.lower_attention import fold_features
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.engine.reference import reference
from recstack.engine.reference.arrays import Array
from recstack.engine.reference.int8 import folded_int8, linear_int8
from recstack.model import Model, zoo
from recstack.model.ops import AttentionPooling
from tests.engine.draft import Draft, make_batch
from tests.engine.native.test_unit_sum import unit as summed_unit
from tests.engine.quantised_twin import quantised_reference

ISAS = [name for name, supported in instruction_sets().items() if supported]
FEATURES = ("query", "key", "difference", "product")
INT8 = LayerPrecision("int8")
PRECISIONS = {
    "own": INT8,
    "fixed": LayerPrecision("int8", ActivationRange(-0.3, 0.4)),
    "split": LayerPrecision("int8", None, (1, 4)),
    "both": LayerPrecision("int8", ActivationRange(-0.3, 0.4), (0,)),
}


def unit(
    dim: int,
    widths: Sequence[int],
    *,
    seen: int = 0,
    positions: int = 5,
    features: Sequence[str] = FEATURES,
    scope: str = "user",
) -> tuple[Model, str]:
    """A unit of ReLU and PReLU layers whose score is output `seen` of its last hidden layer."""
    d = Draft(dim + sum(widths))
    query, keys = d.dense(dim), d.bag(d.sparse(positions, scope), dim=dim, pooling="none")
    layers = []
    for i, (k, n) in enumerate(pairwise([len(features) * dim, *widths])):
        layer = {"weight": d.weight(n, k), "bias": d.weight(n), "activation": "relu"}
        layers.append({**layer, "activation": "prelu", "slope": d.weight(n)} if i % 2 else layer)
    last = d.weight(1, widths[-1])
    d.weights[last][:] = np.arange(widths[-1]) == seen
    layers.append({"weight": last})
    fields = {"features": features, "layers": layers, "result": "scores"}
    scores = d.op("attention_pooling", query, keys, **fields)
    return d.model(scores), scores


def twin(model: Model, precision: LayerPrecision, seen: int, inputs: Sequence[Array]) -> Array:
    """The scores of `unit` by definition."""
    op, weights = model.ops[-1], model.weights
    assert isinstance(op, AttentionPooling)
    query, keys = (x.astype(np.float32) for x in inputs)
    first, *others = op.layers[:-1]
    parts = fold_features(op.features, weights[first.weight], keys.shape[-1])
    of_query, of_key, of_product = (None if p is None else p.astype(np.float32) for p in parts)
    assert first.bias and of_key is not None
    bias = weights[first.bias]
    added = np.broadcast_to(bias, (len(query), len(bias)))
    if of_query is not None:
        added = linear_int8(query, of_query, bias)
    x = folded_int8(query, keys, of_key, of_product, added, precision)
    x = np.maximum(x, 0)
    for layer in others:
        assert layer.bias and layer.slope
        rows = x.reshape(-1, x.shape[-1])
        y = linear_int8(rows, weights[layer.weight], weights[layer.bias])
        y = np.where(y > 0, y, weights[layer.slope] * y)
        x = y.reshape(*x.shape[:-1], y.shape[-1])
    return x[:, :, seen].astype(np.float64)


def check(model: Model, name: str, precision: LayerPrecision, seen: int, isa: str) -> None:
    plan = LayerPlan(layers={name: precision})
    engine = compile(model, EngineConfig(isa=isa, precision=plan))
    assert engine.formats == {name: ("int8", "fp32")}
    for query_rows in ((), (3, 0, 4), (1, 70)):
        batch = make_batch(model, query_rows, seed=len(query_rows))
        instead = {name: lambda inputs: twin(model, precision, seen, inputs)}
        assert np.array_equal(engine.run(batch), reference(model, batch, instead))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS.keys())
@pytest.mark.parametrize(
    ("dim", "widths", "positions"), [(6, (8,), 5), (17, (36,), 33), (32, (24, 13), 70)]
)
def test_a_unit_is_the_twins_bit_for_bit(isa, precision, dim, widths, positions) -> None:
    for seen in (0, 7, widths[-1] - 1):
        model, name = unit(dim, widths, seen=seen, positions=positions)
        check(model, name, precision, seen, isa)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("features", [("key",), ("product",), ("query", "key"), ("product", "sum")])
def test_any_features_fold(isa: str, features: tuple[str, ...]) -> None:
    for scope in ("user", "item"):
        model, name = unit(9, (10,), seen=3, features=features, scope=scope)
        plan = EngineConfig(isa=isa, precision="int8")
        batch = make_batch(model)
        instead = {name: lambda inputs, of=model: twin(of, INT8, 3, inputs)}
        assert np.array_equal(compile(model, plan).run(batch), reference(model, batch, instead))


@pytest.mark.parametrize("isa", ISAS)
def test_a_row_past_all_bounds_spoils_no_other(isa: str) -> None:
    d = Draft()
    user = d.dense(6, "user")
    keys = d.op("reshape", d.op("concat", user, d.dense(12)), shape_to=[3, 6])
    layers = [{"weight": d.weight(9, 6)}, {"weight": d.weight(1, 9)}]
    fields = {"features": ["product"], "layers": layers, "result": "scores"}
    model = d.model(d.op("attention_pooling", user, keys, **fields))
    engine = compile(model, EngineConfig(isa=isa, precision="int8"))
    batch = make_batch(model, (2, 2))
    good = engine.run(batch)
    batch.dense[1, 7] = 3.4e38
    found = engine.run(batch)
    assert np.array_equal(np.delete(found, 1, 0), np.delete(good, 1, 0))
    assert np.array_equal(found[1, :2], good[1, :2]) and found[1, 2] != good[1, 2]


def test_outliers_of_keys_stay_fp32() -> None:
    model, name = unit(24, (12,), seen=2, positions=20)
    op = next(op for op in model.ops if op.kind == "embedding_bag")
    model.weights[op.weights()[0]][:, 5] *= 1000
    batch = make_batch(model)
    exact = reference(model, batch)

    def off(precision: LayerPrecision) -> float:
        plan = LayerPlan(layers={name: precision})
        got = compile(model, EngineConfig(precision=plan)).run(batch)
        return float(np.abs(got - exact).max())

    assert off(LayerPrecision("int8", None, (5,))) < off(INT8) / 20


def test_units_too_narrow_for_int8_stay_fp32() -> None:
    model = zoo.build("dien", rows_scale=0.0001)
    assert compile(model, EngineConfig(precision="int8")).formats["relevance"] == ("fp32",)


def summed(hidden: int) -> tuple[Model, tuple[str, str]]:
    d = Draft()
    model = d.model(summed_unit(d, hidden=hidden, dim=8)[0])
    first, second = (op.output for op in model.ops if op.kind == "linear")
    return model, (first, second)


@pytest.mark.parametrize("isa", ISAS)
def test_layers_of_a_spelled_out_unit_keep_their_own_precision(isa: str) -> None:
    model, (first, second) = summed(12)
    fixed = [LayerPrecision("int8", ActivationRange(-high, high)) for high in (1.0, 2.5)]
    for chosen in (fixed, [INT8, LayerPrecision()], [LayerPrecision(), INT8]):
        plan = LayerPlan(layers=dict(zip((first, second), chosen, strict=True)))
        kinds = [step.kind for step in make_plan(model, precision=plan).steps]
        assert kinds.count("attention_unit") == 1
        engine = compile(model, EngineConfig(isa=isa, precision=plan))
        wide = [p.format if n >= 8 else "fp32" for p, n in zip(chosen, (12, 6), strict=True)]
        assert engine.formats == {first: (wide[0],), second: (wide[1],)}
        batch = make_batch(model)
        want = quantised_reference(model, batch, plan)
        np.testing.assert_allclose(engine.run(batch), want, rtol=1e-5, atol=1e-5)


def test_outliers_of_a_spelled_out_unit_leave_it_unfused() -> None:
    model, (first, _) = summed(12)
    plan = LayerPlan(layers={first: LayerPrecision("int8", None, (3,))})
    kinds = [step.kind for step in make_plan(model, precision=plan).steps]
    assert "attention_unit" not in kinds
