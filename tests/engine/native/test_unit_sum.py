"""An attention unit spelled in tensor ops becomes one step, and gives the same scores."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native.build import make_plan
from recstack.engine.native.passes import optimise
from tests.engine.draft import Draft, make_batch

POSITIONS, DIM = 5, 4


def unit(
    d: Draft, fn: str = "add", scope: str = "item", dim: int = DIM, hidden: int = 3
) -> tuple[str, str]:
    """(sum over positions, what goes into the unit): keys, rows and keys `fn` rows side by side."""
    keys = d.bag(d.sparse(POSITIONS, fixed=True), dim=dim, pooling="none")
    row = d.op("reshape", d.bag(d.sparse(2, scope), dim=dim), shape_to=[1, dim])
    rows = d.op("expand", row, shape_to=[POSITIONS, dim])
    joined = d.op("concat", keys, rows, d.op("binary", keys, rows, fn=fn))
    x = d.linear(d.linear(joined, 3 * dim, hidden, "relu"), hidden, 6, "tanh")
    return d.op("reduce", x, fn="sum", axes=[0]), joined


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
@pytest.mark.parametrize("scope", ["item", "user"])
@pytest.mark.parametrize("fn", ["add", "sub"])
def test_sums_of_a_unit_match_the_reference(fn: str, scope: str, isa: str) -> None:
    if not dict(rs.instruction_sets())[isa]:
        pytest.skip(f"no {isa} here")
    d = Draft()
    model = d.model(unit(d, fn, scope)[0])
    kinds = [step.kind for step in make_plan(model).steps]
    assert kinds.count("attention_unit") == 1
    assert {"copy", "binary", "reduce"}.isdisjoint(kinds)
    batch = make_batch(model)
    got = rs.compile(model, rs.EngineConfig(isa=isa)).run(batch)
    np.testing.assert_allclose(got, rs.reference(model, batch), rtol=1e-5, atol=1e-6)


def test_what_something_else_reads_is_left_alone() -> None:
    d = Draft()
    total, joined = unit(d)
    model = d.model(total, d.op("reduce", joined, fn="max", axes=[0]))
    assert "unit_sum" not in [op.kind for op in optimise(model).ops]


def test_a_concatenation_with_an_unequal_part_is_left_alone() -> None:
    d = Draft()
    keys = d.bag(d.sparse(POSITIONS, fixed=True), pooling="none")
    rows = [
        d.op("expand", d.op("reshape", d.bag(d.sparse(2)), shape_to=[1, 4]), shape_to=[5, 4])
        for _ in range(2)
    ]
    x = d.linear(d.op("concat", keys, *rows), 12, 3, "relu")
    model = d.model(d.op("reduce", x, fn="sum", axes=[0]))
    assert "unit_sum" not in [op.kind for op in optimise(model).ops]


def test_a_unit_too_large_for_the_kernel_is_left_alone() -> None:
    d = Draft()
    model = d.model(unit(d, dim=64, hidden=120)[0])
    assert "unit_sum" not in [op.kind for op in optimise(model).ops]
    batch = make_batch(model, (2, 3))
    np.testing.assert_allclose(
        rs.compile(model).run(batch), rs.reference(model, batch), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_bags_that_only_a_unit_reads_are_summed_in_turns(isa: str) -> None:
    if not dict(rs.instruction_sets())[isa]:
        pytest.skip(f"no {isa} here")
    model = rs.zoo.build("din", variant="deeprecsys", rows_scale=0.0001)
    plan = make_plan(model)
    kinds = [step.kind for step in plan.steps]
    assert kinds.count("bags") == kinds.count("attention_unit") + 1 == 9
    assert {"key_panels", "copy"}.isdisjoint(kinds)
    assert plan.workspace_floats("item") < 2 * 32 * 32
    batch = rs.data.random_batch(model, rows=37, seed=0)
    whole = rs.compile(model, rs.EngineConfig(isa=isa)).run(batch)
    np.testing.assert_allclose(whole, rs.reference(model, batch), rtol=1e-5, atol=1e-6)
    for config in (rs.EngineConfig(isa=isa, tile_rows=5), rs.EngineConfig(isa=isa, threads=2)):
        np.testing.assert_array_equal(rs.compile(model, config).run(batch), whole)
    one = rs.data.random_batch(model, rows=1, seed=1)
    alone = rs.compile(model, rs.EngineConfig(isa=isa)).run(one)
    shared = rs.compile(model, rs.EngineConfig(isa=isa, threads=2)).run(one)
    np.testing.assert_array_equal(shared, alone)


def test_bags_that_something_else_reads_stay_stacked() -> None:
    d = Draft()
    bags = [d.bag(d.sparse(2), dim=DIM) for _ in range(3)]
    keys = d.op("stack", *bags)
    row = d.op("reshape", d.bag(d.sparse(2), dim=DIM), shape_to=[1, DIM])
    rows = d.op("expand", row, shape_to=[3, DIM])
    joined = d.op("concat", keys, rows, d.op("binary", keys, rows, fn="add"))
    total = d.op("reduce", d.linear(joined, 3 * DIM, 6, "tanh"), fn="sum", axes=[0])
    for more, inputs in ((), 4), ((bags[0],), 2), ((keys,), 2):
        model = d.model(total, *more)
        (unit_op,) = (op for op in optimise(model).ops if op.kind == "unit_sum")
        assert len(unit_op.inputs) == inputs
        batch = make_batch(model)
        got = rs.compile(model).run(batch)
        np.testing.assert_allclose(got, rs.reference(model, batch), rtol=1e-5, atol=1e-6)
