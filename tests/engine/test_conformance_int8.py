"""Every model in int8: against the twin of its quantised plan, against fp32, and split."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from recstack.batch import Batch
from recstack.data import random_batch, slice_rows
from recstack.engine import Engine, EngineConfig, HybridEngine, compile, instruction_sets
from recstack.engine.reference import reference
from recstack.model import Model, zoo
from recstack.types import Scores
from tests.engine.draft import make_batch
from tests.engine.quantised_twin import quantised_reference
from tests.engine.small_models import SMALL_MODELS

ISAS = [name for name, supported in instruction_sets().items() if supported]
ZOO = [(name, variant) for name in zoo.names() for variant in zoo.variants(name)]
ZOO_IDS = [f"{name}-{variant or 'proper'}" for name, variant in ZOO]
ROWS = 23
# The engine's values differ from the twin's float64 ones by fp32's rounding; where one lies between
# two steps it may then fall to the other, and what follows moves by part of a step.
STEPS = 2e-3


@cache
def case(name: str, variant: str | None) -> tuple[Model, Batch, Scores, Scores]:
    model = zoo.build(name, variant=variant, rows_scale=0.0005)
    batch = random_batch(model, rows=ROWS, queries=3, seed=5, lengths="ragged")
    return model, batch, reference(model, batch), quantised_reference(model, batch, "int8")


@cache
def engine(name: str, variant: str | None, isa: str) -> Engine | HybridEngine:
    return compile(case(name, variant)[0], EngineConfig(isa=isa, precision="int8"))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=ZOO_IDS)
def test_zoo_agrees_with_the_twin_of_its_quantised_plan(name, variant, isa) -> None:
    _, batch, exact, want = case(name, variant)
    got = engine(name, variant, isa).run(batch)
    assert np.abs(got - want).max() <= STEPS
    assert 0 < np.abs(got - exact).max() < 0.03


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("name", "variant"), ZOO, ids=ZOO_IDS)
def test_a_split_query_equals_the_whole_bit_for_bit(name, variant, isa) -> None:
    model = case(name, variant)[0]
    batch = random_batch(model, rows=ROWS, seed=3, lengths="ragged")
    whole = engine(name, variant, isa).run(batch)
    for width in (1, 7):
        parts = [
            engine(name, variant, isa).run(
                slice_rows(batch, model.inputs, at, min(at + width, ROWS))
            )
            for at in range(0, ROWS, width)
        ]
        assert np.array_equal(np.concatenate(parts), whole)


@pytest.mark.filterwarnings("ignore::recstack.engine.OpaqueWarning")
@pytest.mark.parametrize("hoist", [True, False])
@pytest.mark.parametrize("name", sorted(set(SMALL_MODELS) - {"opaque"}))
def test_every_op_agrees_with_the_twin(name: str, hoist: bool) -> None:
    model, batch = SMALL_MODELS[name]()
    config = EngineConfig(precision="int8", tile_rows=3, threads=2, hoist=hoist)
    for query_rows in ((), (0, 5, 0, 2, 0), (70,)):
        batch = make_batch(model, query_rows, seed=7, index_dtype=batch.values.dtype.type)
        want = quantised_reference(model, batch, "int8", hoist=hoist)
        np.testing.assert_allclose(compile(model, config).run(batch), want, rtol=1e-3, atol=STEPS)
