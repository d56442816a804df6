"""What the planner decides: fused ops, places, shared workspace."""

from __future__ import annotations

import numpy as np
import pytest

import recstack as rs
from recstack.engine.native.build import choose_tile_rows, fold_constants, make_plan
from recstack.engine.native.passes import optimise
from recstack.machine import Caches
from tests.engine.draft import Draft, make_batch
from tests.machine import draft as machine


def kinds(model: rs.Model) -> list[str]:
    return [step.kind for step in make_plan(model).steps]


def test_batch_norm_and_activation_join_the_linear_before_them() -> None:
    d = Draft()
    x = d.linear(d.dense(4), 4, 3)
    names = {"mean": d.weight(3), "variance": d.weight(3, low=0.5), "weight": d.weight(3)}
    model = d.model(d.op("unary", d.op("batch_norm", x, **names), fn="relu"))
    assert [op.kind for op in optimise(model).ops] == ["linear"]
    batch = make_batch(model)
    np.testing.assert_allclose(
        rs.compile(model).run(batch), rs.reference(model, batch), rtol=1e-5, atol=1e-6
    )


def test_a_linear_that_something_else_reads_is_left_alone() -> None:
    d = Draft()
    x = d.linear(d.dense(4), 4, 3)
    model = d.model(d.op("unary", x, fn="relu"), x)
    assert [op.kind for op in optimise(model).ops] == ["linear", "unary"]


def test_parts_of_a_concatenation_are_written_in_place() -> None:
    d = Draft()
    parts = [d.bag(d.sparse(2)), d.linear(d.dense(4), 4, 3), d.bag(d.sparse(2))]
    model = d.model(d.linear(d.op("concat", *parts), 11, 1))
    assert kinds(model) == ["bags", "linear", "linear"]


def test_scores_are_written_in_place() -> None:
    d = Draft()
    x = d.dense(4)
    assert kinds(d.model(d.linear(x, 4, 2), d.linear(x, 4, 1))) == ["linear", "linear"]


def test_a_user_value_is_spread_over_rows_once() -> None:
    d = Draft()
    user, item = d.dense(3, "user"), d.dense(3)
    both = [d.op("cross", user, item, weight_u=d.weight(3, 3)) for _ in range(2)]
    assert kinds(d.model(*both)).count("gather_user") == 1


def test_tensor_ops_read_user_values_in_place() -> None:
    d = Draft()
    user, item = d.dense(20, "user"), d.dense(20)
    mask = d.op("binary", user, item, fn="lt")
    square = d.op("reshape", d.linear(user, 20, 16, "tanh"), shape_to=(4, 4))
    other = d.op("reshape", d.linear(item, 20, 16, "tanh"), shape_to=(4, 4))
    product = d.op("matmul", square, other)
    joined = d.op("concat", square, other, axis=1)
    model = d.model(d.op("where", mask, user, item), product, joined, user)
    assert "gather_user" not in kinds(model)
    for query_rows in ((3, 0, 4), (1, 300, 2)):
        batch = make_batch(model, query_rows)
        want = rs.reference(model, batch)
        np.testing.assert_allclose(rs.compile(model).run(batch), want, rtol=1e-5, atol=1e-6)


def test_workspace_is_shared_over_time() -> None:
    d = Draft()
    x = d.dense(64)
    for _ in range(6):
        x = d.linear(x, 64, 64, "relu")
    plan = make_plan(d.model(d.linear(x, 64, 1)))
    assert plan.workspace_floats("item") <= 2 * 80
    live = [b for b in plan.buffers if b.last >= 0]
    for i, a in enumerate(live):
        for b in live[i + 1 :]:
            apart = a.last < b.first or b.last < a.first
            disjoint = a.offset + a.width <= b.offset or b.offset + b.width <= a.offset
            assert apart or disjoint


def test_constants_are_folded() -> None:
    d = Draft()
    c = d.op("unary", d.op("constant", weight=d.weight(3)), fn="exp")
    model = d.model(d.op("binary", d.dense(3), c, fn="mul"))
    assert set(fold_constants(model)) == {op.output for op in model.ops[:2]}
    assert kinds(model) == ["binary"]


def test_tiles_shrink_with_the_workspace() -> None:
    caches = Caches(l1_bytes=32 << 10, l2_bytes=1 << 20, l3_bytes=0, l3_cores=1)
    assert choose_tile_rows(1, caches) == 256
    assert choose_tile_rows(4096, caches) == 96
    assert choose_tile_rows(1 << 20, caches) == 16


def test_stored_peaks_without_lookups_leave_the_prefetch_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    d = Draft()
    model = d.model(d.bag(d.sparse(3), dim=16))

    def prefetch(peaks: object) -> tuple[int, ...]:
        monkeypatch.setattr("recstack.engine.native.build.load_peaks", lambda: peaks)
        return make_plan(model).steps[0].ints[1:4]

    assert prefetch(machine.peaks(prefetches=())) == prefetch(None) == (2, 32, 1)
    assert prefetch(machine.peaks(prefetches=machine.peaks().prefetches[1:])) == (3, 8, 64)


def test_unmeasured_wide_rows_are_prefetched_in_bursts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recstack.engine.native.build.load_peaks", lambda: None)
    d = Draft()
    narrow, wide = (d.bag(d.sparse(3), dim=dim) for dim in (32, 33))
    steps = make_plan(d.model(d.op("concat", narrow, wide))).steps
    assert [s.ints[1:4] for s in steps if s.kind == "bags"] == [(2, 32, 1), (2, 16, 128)]
