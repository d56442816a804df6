"""Branches alike are shared among threads whole, and that changes no bit."""

from __future__ import annotations

import numpy as np
import pytest

from recstack.engine import EngineConfig, compile, instruction_sets
from recstack.engine.native.build import make_plan
from recstack.engine.native.plan import NO_TURN, Plan
from recstack.engine.precision import DenseFormat
from recstack.engine.reference import reference
from recstack.model import Model, zoo
from tests.engine.draft import Draft, make_batch

ISAS = [name for name, supported in instruction_sets().items() if supported]
DIM = 8


def turns_of(plan: Plan) -> list[int]:
    return [step.turn for step in plan.steps]


def summed_unit(d: Draft, tables: int, hidden: int, outputs: int) -> str:
    """The sum of a unit over a stack of ragged bags, as DIN's released artifact has it."""
    keys = d.op("stack", *(d.bag(d.sparse(3), dim=DIM) for _ in range(tables)))
    row = d.op("reshape", d.bag(d.sparse(2), dim=DIM), shape_to=[1, DIM])
    rows = d.op("expand", row, shape_to=[tables, DIM])
    joined = d.op("concat", keys, rows, d.op("binary", keys, rows, fn="add"))
    x = d.linear(d.linear(joined, 3 * DIM, hidden, "relu"), hidden, outputs, "tanh")
    return d.op("reduce", x, fn="sum", axes=[0])


def masked_attention(d: Draft) -> str:
    """Attention pooling of a ragged history under its mask."""
    feature = d.sparse(5)
    keys, mask = d.bag(feature, dim=DIM, pooling="none"), d.op("sequence_mask", feature)
    layers = [{"weight": d.weight(9, 2 * DIM), "activation": "relu"}, {"weight": d.weight(1, 9)}]
    fields = {"features": ["query", "product"], "layers": layers}
    return d.op("attention_pooling", d.bag(d.sparse(2), dim=DIM), keys, mask, **fields)


def towers(d: Draft, tasks: int, width: int = 160) -> list[str]:
    """Scores of `tasks` towers alike over one trunk."""
    trunk = d.dense(128)
    return [d.linear(d.linear(trunk, 128, width, "relu"), width, 3) for _ in range(tasks)]


def check_teams(model: Model, isa: str, precision: DenseFormat = "fp32") -> None:
    alone = compile(model, EngineConfig(isa=isa, precision=precision))
    for threads in (2, 3, 5):
        team = compile(model, EngineConfig(isa=isa, precision=precision, threads=threads))
        for query_rows in ((1,), (1, 1), (3,), (4, 0, 9)):
            batch = make_batch(model, query_rows, seed=len(query_rows))
            whole = alone.run(batch)
            for _ in range(3):
                np.testing.assert_array_equal(team.run(batch), whole)
            if precision == "fp32":
                want = reference(model, batch)
                np.testing.assert_allclose(whole, want, 1e-5, 2e-6 * np.abs(want).max(initial=1))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(
    ("tables", "hidden", "outputs", "last"),
    [(33, 1, 32, NO_TURN), (64, 1, 32, 1), (70, 12, 5, 2), (100, 9, 1, 3)],
)
def test_a_team_of_any_size_sums_a_unit_alike(
    isa, precision, tables, hidden, outputs, last
) -> None:
    d = Draft()
    total = summed_unit(d, tables, hidden, outputs)
    model = d.model(total, d.linear(total, outputs, 4), masked_attention(d))
    plan = make_plan(model, precision=precision)
    assert max(turns_of(plan)) == last
    check_teams(model, isa, precision)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("tasks", [2, 3, 8])
def test_a_team_of_any_size_computes_towers_alike(isa, precision, tasks) -> None:
    d = Draft()
    outputs = towers(d, tasks)
    total = d.op("concat", *outputs)
    model = d.model(total, d.linear(total, 3 * tasks, 2))
    assert turns_of(make_plan(model))[: 2 * tasks] == [t for t in range(tasks) for _ in range(2)]
    check_teams(model, isa, precision)


def test_what_a_turn_alone_uses_is_its_own_and_what_turns_share_lasts() -> None:
    plan = make_plan(zoo.build("mt-wnd", variant="deeprecsys", rows_scale=0.0001))
    plan.workspace_floats("item")
    marked = [(i, step) for i, step in enumerate(plan.steps) if step.turn != NO_TURN]
    assert [step.turn for _, step in marked] == [t for t in range(8) for _ in range(2)]
    hidden = [step.operands[-1].buffer for _, step in marked[::2]]
    assert all(buffer is not None and buffer.own for buffer in hidden)
    trunk = marked[0][1].operands[0].buffer
    assert trunk is not None and not trunk.own and trunk.last >= marked[-1][0]


def test_sums_of_turns_have_room_of_their_own_while_turns_run() -> None:
    plan = make_plan(zoo.build("din", variant="deeprecsys", rows_scale=0.0001))
    plan.workspace_floats("item")
    units = [i for i, step in enumerate(plan.steps) if step.kind == "attention_unit"]
    sums = plan.steps[units[0]].operands[-1].buffer
    assert sums is not None and not sums.own
    assert sums.first < units[0] and sums.last > units[-1]  # from the first turn's bags on
    for at in units:
        keys = plan.steps[at].operands[1].buffer
        assert keys is not None and keys.own
        assert keys.offset >= sums.offset + sums.width or sums.offset >= keys.offset + keys.width


def test_branches_that_read_each_other_or_differ_are_no_turns() -> None:
    d = Draft()
    x = d.dense(128)
    first = d.linear(d.linear(x, 128, 160, "relu"), 160, 128)
    second = d.linear(d.linear(first, 128, 160, "relu"), 160, 128)
    chain = make_plan(d.model(second))
    d = Draft()
    x = d.dense(128)
    wide, narrow = (d.linear(d.linear(x, 128, n, "relu"), n, 3) for n in (160, 32))
    unlike = make_plan(d.model(wide, narrow))
    for plan in (chain, unlike):
        assert set(turns_of(plan)) == {NO_TURN}
