"""The user's part of a layer is computed once per query, and scores stay what they are."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine import EngineConfig, instruction_sets
from recstack.engine.native.build import make_plan
from recstack.engine.native.plan import Step
from recstack.model import zoo
from tests.engine.draft import QUERY_ROWS_CASES, Draft, make_batch

ISAS = [name for name, supported in instruction_sets().items() if supported]


def linears(model: rs.Model) -> list[tuple[str, int, bool]]:
    """Scope, input width and whether it goes on from a query's sums, of each linear step."""
    steps = [s for s in make_plan(model).steps if s.kind == "linear"]
    return [(s.scope, s.ints[1], len(s.operands) == 3) for s in steps]


def others(model: rs.Model) -> list[str]:
    return [s.kind for s in make_plan(model).steps if s.kind != "linear"]


def check(model: rs.Model) -> None:
    """Scores agree with the reference for awkward batches, on every set and with small tiles."""
    for query_rows in (*QUERY_ROWS_CASES, (1, 7, 0, 2, 150, 3)):
        batch = make_batch(model, query_rows, seed=3)
        want = rs.reference(model, batch)
        for isa in ISAS:
            for tile_rows in (None, 3):
                engine = rs.compile(model, EngineConfig(isa=isa, tile_rows=tile_rows))
                np.testing.assert_allclose(engine.run(batch), want, rtol=1e-5, atol=1e-6)


def interleaved(d: Draft, width: int = 9) -> str:
    """User 12 and 4 columns, item 5 and 3, in turn."""
    user, item = d.dense(12, "user"), d.dense(5)
    x = d.op("concat", user, item, d.bag(d.sparse(2, "user")), d.bag(d.sparse(2), dim=3))
    return d.linear(x, 24, width, "relu")


def test_the_users_part_runs_once_per_query() -> None:
    d = Draft()
    model = d.model(d.linear(interleaved(d), 9, 1, "sigmoid"))
    assert linears(model) == [("user", 16, False), ("item", 8, True), ("item", 9, False)]
    assert "gather_user" not in others(model)
    check(model)


def test_the_plan_without_hoisting_does_all_work_per_row() -> None:
    d = Draft()
    model = d.model(interleaved(d))
    scopes = {s.scope for s in make_plan(model, hoist=False).steps if s.kind == "linear"}
    assert scopes == {"item"}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("columns", [1, 2, 5, 33, 70])
def test_scores_are_the_same_bit_for_bit_where_user_columns_come_first(isa, columns) -> None:
    d = Draft()
    x = d.op("concat", d.dense(90, "user"), d.dense(41))
    model = d.model(d.linear(x, 131, columns, "tanh"))
    assert linears(model) == [("user", 90, False), ("item", 41, True)]
    batch = make_batch(model, (0, 33, 1, 1, 90, 2))
    on, off = (rs.compile(model, EngineConfig(isa=isa, hoist=h)).run(batch) for h in (True, False))
    assert np.array_equal(on, off)


@pytest.mark.parametrize("isa", ISAS)
def test_scores_do_not_depend_on_tiles_threads_or_neighbours(isa: str) -> None:
    d = Draft()
    model = d.model(d.linear(interleaved(d, 37), 37, 2))
    batch = make_batch(model, (40, 0, 1, 90, 5))
    engine = rs.compile(model, EngineConfig(isa=isa))
    want = engine.run(batch)
    for config in ({"tile_rows": 7}, {"tile_rows": 1}, {"threads": 3}):
        assert np.array_equal(rs.compile(model, EngineConfig(isa=isa, **config)).run(batch), want)


def test_a_single_input_is_read_where_it_lies() -> None:
    d = Draft()
    x = d.op("concat", d.dense(3), d.dense(80, "user"))
    model = d.model(d.linear(x, 83, 4))
    assert others(model) == []
    check(model)


def test_joined_values_inside_joined_values() -> None:
    d = Draft()
    inner = d.op("concat", d.dense(6, "user"), d.dense(5))
    rows = d.op("stack", d.bag(d.sparse(2)), d.bag(d.sparse(2, "user"), dim=4))
    whole = d.op("concat", d.dense(2), inner, d.op("reshape", rows, shape_to=(8,)))
    model = d.model(d.linear(whole, 21, 8))
    assert linears(model) == [("user", 10, False), ("item", 11, True)]
    assert "gather_user" not in others(model)
    check(model)


def test_layers_over_one_concatenation_share_its_halves() -> None:
    d = Draft()
    x = d.op("concat", d.dense(20, "user"), d.bag(d.sparse(2)), d.dense(5))
    model = d.model(d.linear(x, 29, 8), d.linear(x, 29, 6, "sigmoid"))
    assert [k for k, *_ in linears(model)] == ["user", "item"] * 2
    assert others(model) == ["bags", "copy"]
    check(model)


def test_a_concatenation_that_others_read_stays_and_is_read_in_part() -> None:
    d = Draft()
    x = d.op("concat", d.dense(20, "user"), d.bag(d.sparse(2)), d.bag(d.sparse(2)))
    model = d.model(d.linear(x, 28, 8), d.op("unary", x, fn="tanh"))
    assert linears(model) == [("user", 20, False), ("item", 8, True)]
    assert sorted(others(model)) == ["bags", "copy", "unary"]
    check(model)


def test_scattered_item_columns_are_copied_only_where_that_pays() -> None:
    for width, hoisted in ((16, True), (2, False)):
        d = Draft()
        x = d.op("concat", d.bag(d.sparse(2)), d.dense(20, "user"), d.bag(d.sparse(2)))
        model = d.model(d.linear(x, 28, width), d.op("unary", x, fn="tanh"))
        assert (("user", 20, False) in linears(model)) == hoisted
        check(model)


def test_constants_count_as_the_users() -> None:
    d = Draft()
    c = d.op("constant", weight=d.weight(3))
    model = d.model(d.linear(d.op("concat", d.dense(4), c, d.dense(9, "user")), 16, 8))
    assert linears(model) == [("user", 12, False), ("item", 4, True)]
    check(model)


def test_what_gains_nothing_is_left_alone() -> None:
    def steps(*widths: tuple[int, str], out: int = 8) -> list[Step]:
        d = Draft()
        x = d.op("concat", *(d.dense(*w) for w in widths))
        return make_plan(d.model(d.linear(x, sum(w[0] for w in widths), out))).steps

    for found in (
        steps((20, "item"), (20, "item")),
        steps((20, "user"), (20, "user")),
        steps((3, "user"), (20, "item"), out=1),
    ):
        assert all(len(step.operands) == 2 for step in found)
        assert sum(step.kind == "linear" for step in found) == 1


def test_a_layer_over_positions_is_left_alone() -> None:
    d = Draft()
    x = d.op("stack", d.dense(20, "user"), d.dense(20))
    model = d.model(d.linear(x, 20, 8))
    assert linears(model) == [("item", 20, False)]
    check(model)


def test_recurrences_project_a_users_sequence_once_per_query() -> None:
    d = Draft()
    x = d.bag(d.sparse(4, "user"), dim=3, pooling="none")
    weights = {"weight_ih": d.weight(15, 3), "weight_hh": d.weight(15, 5), "bias_ih": d.weight(15)}
    scores = d.op("softmax", d.dense(4))
    cell = d.op("gru_cell", d.dense(3), d.dense(5, "user"), **weights)
    model = d.model(d.op("augru", x, scores, **weights), cell)
    projections = [(k, n) for k, n, _ in linears(model)]
    assert sorted(projections) == [("item", 3), ("user", 3), ("user", 5)]
    batch = make_batch(model, (0, 33, 1, 150))
    on, off = (rs.compile(model, EngineConfig(hoist=h)).run(batch) for h in (True, False))
    assert np.array_equal(on, off)
    check(model)


@pytest.mark.parametrize("queries", [1, 5, 200])
def test_a_published_model_with_half_its_tables_user_scope(queries: int) -> None:
    model = zoo.build("rm1", rows_scale=1e-4, user_scope_tables=4)
    assert ("user", 128, False) in linears(model)
    batch = rs.data.random_batch(model, rows=200, queries=queries, seed=queries)
    got = rs.compile(model).run(batch)
    np.testing.assert_allclose(got, rs.reference(model, batch), rtol=1e-5, atol=1e-6)
