from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.data import LabelledData, random_batch
from recstack.engine.precision import FP32, LayerPrecision, layer_names
from recstack.precision.alone import alone
from recstack.precision.values import columns_that_stand_out, run_alone, values_of


@pytest.fixture(scope="module", params=["wnd", "din", "dien", "rm1", "ncf"])
def model(request: pytest.FixtureRequest) -> rs.Model:
    return rs.zoo.build(request.param, seed=1, rows_scale=1e-4)


def draw(model: rs.Model) -> LabelledData:
    batch = random_batch(model, 23, queries=5, lengths="ragged")
    return LabelledData(model.inputs, batch, np.zeros((23, model.output_width), np.float32))


def test_values_inside_are_those_of_the_reference(model: rs.Model) -> None:
    data = draw(model)
    names = [op.output for op in model.ops if model.values[op.output].scope != "const"]
    found = values_of(model, names, data)
    assert set(found) == set(names)
    scores = np.concatenate([found[name] for name in model.outputs], axis=1)
    assert np.allclose(scores, rs.reference(model, data.batch), atol=1e-5)


def test_a_layer_alone_makes_what_it_makes_in_the_model(model: rs.Model) -> None:
    data = draw(model)
    for name in list(layer_names(model))[:6]:
        part = alone(model, [name])
        values = values_of(model, [name, *part.reads], data)
        assert np.allclose(run_alone(part, values, FP32), values[name], atol=2e-6)
        off = run_alone(part, values, LayerPrecision("int8"))
        assert np.isfinite(off).all() and off.shape == values[name].shape


def test_columns_stand_out_where_leaving_them_quarters_the_noise() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (100, 60)).astype(np.float32)
    assert columns_that_stand_out(values, 60) == ()
    values[:, 7] *= 5
    values[:, 50] *= -90
    assert columns_that_stand_out(values, 60) == (7, 50)
    assert columns_that_stand_out(values.reshape(10, 600), 60) == (7, 50)
    values[:, 20:40] *= 100
    assert columns_that_stand_out(values, 60) == ()  # too many to leave out
    assert columns_that_stand_out(values[:, :1], 1) == ()
    assert columns_that_stand_out(np.zeros((4, 8), np.float32), 8) == ()


def test_rows_that_are_not_finite_say_nothing_about_columns() -> None:
    values = np.random.default_rng(0).uniform(-1, 1, (100, 60)).astype(np.float32)
    values[:, 50] *= -90
    values[3, 7] = values[5, 8] = np.nan
    assert columns_that_stand_out(values, 60) == (50,)
    assert columns_that_stand_out(np.full((4, 8), np.inf, np.float32), 8) == ()
