from __future__ import annotations

import pytest

from recstack.engine import Engine, EngineConfig
from recstack.engine.precision import FP32, LayerPlan, LayerPrecision, quantisable
from recstack.model import zoo
from recstack.tune.quantise.costs import layer_bytes


@pytest.mark.parametrize("format_", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("name", ["din", "dien", "rm1"])
def test_a_layer_costs_the_bytes_that_an_engine_keeps(name: str, format_: str) -> None:
    model, precision = zoo.build(name, rows_scale=1e-4), LayerPrecision(format_)
    engine = Engine(model, EngineConfig(precision=LayerPlan(precision)))
    kept = {used.name: used.packed_bytes for used in engine.layers}
    assert list(kept) == list(quantisable(model))
    for layer, packed in kept.items():
        beside = layer_bytes(model, layer, precision) - packed
        int8 = "int8" in engine.formats[layer]
        assert 0 < beside <= packed if int8 else beside == 0, layer


def test_an_attention_unit_saves_little_memory_in_int8() -> None:
    model = zoo.build("din", rows_scale=1e-4)
    before, after = (layer_bytes(model, "interest", LayerPrecision(f)) for f in ("fp32", "int8"))
    assert 0.6 * before < after < before
    assert layer_bytes(model, "interest", LayerPrecision("int8", outliers=(3,))) == after


def test_outliers_are_kept_beside_the_columns_in_int8() -> None:
    model = zoo.build("rm1", rows_scale=1e-4)
    first = quantisable(model)[0]
    outputs = model.values[first].elements
    plain = layer_bytes(model, first, LayerPrecision("int8"))
    split = layer_bytes(model, first, LayerPrecision("int8", outliers=(0, 2)))
    assert split - plain == 2 * 4 * outputs < plain < layer_bytes(model, first, FP32)
