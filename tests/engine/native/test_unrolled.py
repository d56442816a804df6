"""An RNN spelled step by step becomes one op, and gives the same scores."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native.build import make_plan
from recstack.engine.native.passes import optimise
from recstack.model import Model
from tests.engine.draft import QUERY_ROWS_CASES, Draft, make_batch

STEPS, DIM, HIDDEN = 5, 4, 6


def bags(d: Draft, scope: str = "item") -> list[str]:
    return [d.bag(d.sparse(2, scope), dim=DIM) for _ in range(STEPS)]


def rows_of(d: Draft, sequence: str) -> list[str]:
    return [d.op("slice", sequence, axis=0, start=i, stop=i + 1) for i in range(STEPS)]


def zeros(d: Draft, *shape: int) -> str:
    return d.op("constant", weight=d.weight(*shape, low=0.0, high=0.0))


def rnn(d: Draft, xs: list[str], start: str, width: int = DIM) -> list[str]:
    """The states of tanh(W [x, h] + b), one value per step."""
    names = {"weight": d.weight(HIDDEN, width + HIDDEN), "bias": d.weight(HIDDEN)}
    states = [start]
    for x in xs:
        joined = d.op("concat", x, states[-1], axis=-1)
        states.append(d.op("linear", joined, activation="tanh", **names))
    return states[1:]


def kinds(model: Model) -> Counter[str]:
    return Counter(step.kind for step in make_plan(model).steps)


def check(model: Model, isa: str = "auto") -> None:
    engine = rs.compile(model, rs.EngineConfig(isa=isa))
    for rows in QUERY_ROWS_CASES:
        batch = make_batch(model, rows)
        want = rs.reference(model, batch)
        np.testing.assert_allclose(engine.run(batch), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
@pytest.mark.parametrize("scope", ["item", "user"])
def test_two_rnns_in_a_row_are_one_step_each_without_copies(scope: str, isa: str) -> None:
    if not dict(rs.instruction_sets())[isa]:
        pytest.skip(f"no {isa} here")
    d = Draft()
    states = d.op("stack", *rnn(d, bags(d, scope), zeros(d, HIDDEN)))
    mixed = d.op("binary", states, d.op("softmax", states), fn="add")
    last = rnn(d, rows_of(d, mixed), zeros(d, 1, HIDDEN), HIDDEN)[-1]
    model = d.model(d.linear(d.op("reshape", last, shape_to=[HIDDEN]), HIDDEN, 2))
    found = kinds(model)
    assert (found["rnn"], found["linear"]) == (2, 1)
    assert found["copy"] == (1 if scope == "user" else 0)  # the user's scores, to every row
    check(model, isa)


@pytest.mark.parametrize("scope", ["item", "user"])
def test_a_first_state_that_is_not_zero_is_read(scope: str) -> None:
    d = Draft()
    given = d.bag(d.sparse(2, scope), dim=HIDDEN)
    constant = d.op("constant", weight=d.weight(HIDDEN))
    ends = [rnn(d, bags(d, scope), start)[-1] for start in (given, constant)]
    model = d.model(*ends)
    assert kinds(model)["rnn"] == 2
    check(model)


def test_some_rows_of_a_sequence_are_read_in_place() -> None:
    d = Draft()
    keys = d.bag(d.sparse(STEPS + 2, fixed=True), dim=DIM, pooling="none")
    rows = [d.op("slice", keys, axis=0, start=i, stop=i + 1) for i in range(1, STEPS + 1)]
    model = d.model(rnn(d, rows, zeros(d, 1, HIDDEN))[-1])
    assert set(kinds(model)) == {"bags", "rnn"}
    check(model)


def test_rows_in_another_order_are_put_in_order() -> None:
    d = Draft()
    keys = d.bag(d.sparse(STEPS, fixed=True), dim=DIM, pooling="none")
    model = d.model(rnn(d, rows_of(d, keys)[::-1], zeros(d, 1, HIDDEN))[-1])
    assert kinds(model)["rnn"] == 1
    check(model)


def test_what_something_else_reads_is_left_alone() -> None:
    d = Draft()
    states = rnn(d, bags(d), zeros(d, HIDDEN))
    model = d.model(states[1], states[-1])
    assert "rnn" not in [op.kind for op in optimise(model).ops]
    check(model)


def test_stacked_states_in_another_order_are_left_alone() -> None:
    d = Draft()
    states = d.op("stack", *rnn(d, bags(d), zeros(d, HIDDEN))[::-1])
    model = d.model(d.op("reduce", d.op("softmax", states), fn="max", axes=[1]))
    assert "rnn" not in [op.kind for op in optimise(model).ops]
    check(model)


def test_steps_of_different_weights_are_left_alone() -> None:
    d = Draft()
    state = zeros(d, HIDDEN)
    for x in bags(d):
        state = rnn(d, [x], state)[-1]
    assert "rnn" not in [op.kind for op in optimise(d.model(state)).ops]


def test_two_chains_that_part_are_left_alone() -> None:
    d = Draft()
    names = {"weight": d.weight(HIDDEN, DIM + HIDDEN), "activation": "tanh"}

    def step(x: str, state: str) -> str:
        return d.op("linear", d.op("concat", x, state), **names)

    xs = bags(d)
    shared = step(xs[0], zeros(d, HIDDEN))
    model = d.model(step(xs[1], shared), step(xs[2], shared))
    assert "rnn" not in [op.kind for op in optimise(model).ops]
    check(model)


def test_a_users_inputs_to_an_items_state_are_left_alone() -> None:
    d = Draft()
    start = d.bag(d.sparse(2), dim=HIDDEN)
    model = d.model(rnn(d, bags(d, "user"), start)[-1])
    assert "rnn" not in [op.kind for op in optimise(model).ops]
    check(model)
