"""Dense layers in bf16 and fp16: kernels against their NumPy twins (recurrences and units in
native/test_recurrence.py and test_unit.py), whole models against the twins of their plans."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import recstack as rs
from recstack.data import random_batch, slice_rows
from recstack.engine import EngineConfig, LayerPlan, LayerPrecision, instruction_sets, quantisable
from recstack.engine.precision import DenseFormat
from recstack.engine.reference import reference
from recstack.engine.reference.formats import bf16_chain, to_bf16, to_fp16
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.types import Executor
from tests.engine.draft import Draft, make_batch
from tests.engine.quantised_twin import quantised_reference
from tests.engine.small_models import SMALL_MODELS

ISAS = [name for name, supported in instruction_sets().items() if supported]
ZOO = [(name, variant) for name in zoo.names() for variant in zoo.variants(name)]
QUICK = ["ncf", "rm1", "mt-wnd", "din", "dien"]
IDS = [f"{name}-{variant or 'proper'}" for name, variant in ZOO]
TWO_SETS = [isa for isa in ISAS if isa in ("avx2", ISAS[-1])]
LAYERED = [name for name, made in SMALL_MODELS.items() if quantisable(made()[0])]
# Rows fold the first matrices of a unit anew, from fp32 ones.
FOLDED = ("interest", "relevance", "unit.0")
FORMATS: tuple[DenseFormat, ...] = ("bf16", "fp16")
# A value close to the middle of two bf16 may round the other way than in the float64 twin, which
# moves what reads it by one part in 256; fp16 rounds weights alone, which both round alike.
TOLERANCE = {"bf16": 6e-3, "fp16": 2e-5}
ZOO_TOLERANCE = {"bf16": 2e-3, "fp16": 3e-6}
OF_ROUNDING = {"bf16": 0.25, "fp16": 0.01}
pytestmark = pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")


@cache
def small(name: str, variant: str | None) -> Model:
    return zoo.build(name, variant=variant, rows_scale=0.0005)


@cache
def engine_of(name: str, variant: str | None, isa: str, precision: DenseFormat) -> Executor:
    return rs.compile(small(name, variant), EngineConfig(isa=isa, precision=precision))


def one_layer(k: int, n: int) -> Model:
    d = Draft()
    return d.model(d.op("linear", d.dense(k), weight=d.weight(n, k)))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), [(1, 1), (7, 3), (64, 33), (130, 40), (1201, 70)])
def test_a_bf16_layer_is_its_twin_bit_for_bit(isa: str, k: int, n: int) -> None:
    model = one_layer(k, n)
    batch = make_batch(model, [3, 17, 20], seed=k)
    (weight,) = model.weights.values()
    got = rs.compile(model, EngineConfig(isa=isa, precision="bf16")).run(batch)
    assert np.array_equal(got, bf16_chain(batch.dense, weight))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("k", "n"), [(1, 1), (64, 33), (1201, 70)])
def test_an_fp16_layer_is_fp32_over_rounded_weights_bit_for_bit(isa: str, k: int, n: int) -> None:
    model = one_layer(k, n)
    batch = make_batch(model, [3, 17, 20], seed=k)
    ((name, weight),) = model.weights.items()
    rounded = rs.model.build(model.description, {name: to_fp16(weight)})
    got = rs.compile(model, EngineConfig(isa=isa, precision="fp16")).run(batch)
    assert np.array_equal(got, rs.compile(rounded, EngineConfig(isa=isa)).run(batch))


def test_rounding_is_to_nearest_ties_to_even() -> None:
    x = np.array([1 + 2**-8, 1 + 3 * 2**-8, -(1 + 2**-8 + 2**-20), 3e38, np.inf, np.nan, 0, -0.0])
    want = [1, 1 + 2**-6, -(1 + 2**-7), 3.00406e38, np.inf, np.nan, 0, -0.0]
    np.testing.assert_allclose(to_bf16(x), want, rtol=1e-4)
    assert to_fp16(np.array([65519.0, 65520.0])).tolist() == [65504.0, np.inf]


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=IDS)
def test_zoo_agrees_with_the_twin_of_its_plan(name, variant, precision) -> None:
    model = small(name, variant)
    rows = 3 if name == "dlrm-dcnv2" else 21
    batch = random_batch(model, rows=rows, queries=3, seed=1, lengths="ragged")
    want = quantised_reference(model, batch, precision)
    rounding = np.abs(want - reference(model, batch))
    for isa in TWO_SETS:
        off = np.abs(engine_of(name, variant, isa, precision).run(batch) - want)
        assert off.max() <= ZOO_TOLERANCE[precision]
        # What fp32 would give is off by `rounding`.
        assert off.mean() <= OF_ROUNDING[precision] * rounding.mean()


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("name", LAYERED)
def test_every_op_agrees_with_the_reference_that_rounds(name, isa, precision) -> None:
    model, batch = SMALL_MODELS[name]()
    got = rs.compile(model, EngineConfig(isa=isa, precision=precision, threads=2)).run(batch)
    want = reference(model, batch, precision=precision)
    tolerance = TOLERANCE[precision]
    np.testing.assert_allclose(got, want, rtol=2 * tolerance, atol=2 * tolerance)


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("isa", TWO_SETS)
@pytest.mark.parametrize(("name", "variant"), [*((n, None) for n in QUICK), ("dien", "deeprecsys")])
def test_a_split_query_equals_the_whole_bit_for_bit(name, variant, isa, precision) -> None:
    model = small(name, variant)
    batch = random_batch(model, rows=45, seed=3, lengths="ragged")
    engine = engine_of(name, variant, isa, precision)
    whole = engine.run(batch)
    for width in (1, 7, 40):
        parts = [
            engine.run(slice_rows(batch, model.inputs, at, min(at + width, batch.rows)))
            for at in range(0, batch.rows, width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize(("name", "variant"), ZOO, ids=IDS)
def test_precision_reaches_every_layer_and_halves_its_bytes(name, variant) -> None:
    model = small(name, variant)
    layers = {
        precision: rs.compile(model, EngineConfig(precision=precision)).layers
        for precision in ("fp32", "bf16")
    }
    assert {layer.name for layer in layers["bf16"]} == set(quantisable(model))
    assert {layer.formats for layer in layers["bf16"]} == {("bf16",)}
    for wide, narrow in zip(layers["fp32"], layers["bf16"], strict=True):
        assert wide.name == narrow.name
        if wide.name in FOLDED:
            assert narrow.packed_bytes <= wide.packed_bytes
        else:
            assert wide.packed_bytes == 2 * narrow.packed_bytes


@pytest.mark.parametrize("name", ["rm1", "din", "dien"])
def test_a_plan_for_one_layer_changes_that_layer_alone(name: str) -> None:
    model = small(name, None)
    batch = random_batch(model, rows=9, seed=2)
    exact = reference(model, batch)
    for layer in quantisable(model):
        plan = LayerPlan(layers={layer: LayerPrecision("bf16")})
        engine = rs.compile(model, EngineConfig(precision=plan))
        assert {name for name, of in engine.formats.items() if of == ("bf16",)} == {layer}
        got = engine.run(batch)
        assert np.abs(got - reference(model, batch, precision=plan)).max() <= 2e-3
        assert np.abs(got - exact).max() <= 2e-2


@pytest.mark.parametrize("variant", [None, "deeprecsys"])
@pytest.mark.parametrize("name", ["din", "dien"])
def test_layers_of_a_unit_that_differ_are_computed_apart(name: str, variant: str | None) -> None:
    model = small(name, variant)
    batch = random_batch(model, rows=9, seed=2)
    layers = {n: LayerPrecision("bf16") for n in quantisable(model)[::2]}
    plan = LayerPlan(LayerPrecision("fp16"), layers)
    got = rs.compile(model, EngineConfig(precision=plan)).run(batch)
    np.testing.assert_allclose(got, reference(model, batch, precision=plan), rtol=0, atol=6e-3)


def test_a_weight_past_the_range_of_fp16_is_refused() -> None:
    model = one_layer(3, 2)
    ((name, weight),) = model.weights.items()
    large = rs.model.build(model.description, {name: weight * np.float32(1e6)})
    with pytest.raises(ConfigError, match="65504"):
        rs.compile(large, EngineConfig(precision="fp16"))
    rs.compile(large, EngineConfig(precision="bf16"))


@pytest.mark.skipif("avx512_bf16" not in ISAS, reason="this processor has no avx512_bf16")
@pytest.mark.parametrize("name", QUICK)
def test_fp32_is_the_same_bits_with_and_without_bf16_instructions(name: str) -> None:
    batch = random_batch(small(name, None), rows=19, seed=4)
    with_bf16, without = (
        engine_of(name, None, isa, "fp32").run(batch) for isa in ("avx512_bf16", "avx512")
    )
    assert np.array_equal(with_bf16, without)
