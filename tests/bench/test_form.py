from __future__ import annotations

import numpy as np
import pytest

from recstack.bench.form import Pooled, form_of
from recstack.bench.recurrences import Rnn
from recstack.bench.tables import joined, whole
from recstack.data import random_batch
from recstack.model import zoo
from recstack.model.ops import EmbeddingBag


@pytest.mark.parametrize("name", ["ncf", "rm1", "rm2", "rm3", "wnd", "mt-wnd", "din", "dien"])
def test_tables_of_the_zoo_are_one_table_without_a_copy(name: str) -> None:
    model = zoo.build(name, variant="deeprecsys", rows_scale=0.01)
    form = form_of(model)
    (group,) = form.groups
    assert np.shares_memory(group.table, model.weights[_bags(model)[0].table])
    batch = random_batch(model, rows=2, seed=3)
    indices = group.indices(batch)
    for i, op in enumerate(_bags(model)):
        own = model.weights[op.table][indices[1, i] - group.bases[i]]
        np.testing.assert_array_equal(group.table[indices[1, i]], own)


def _bags(model: object) -> list[EmbeddingBag]:
    return [op for op in model.ops if isinstance(op, EmbeddingBag)]  # type: ignore[attr-defined]


def test_tables_of_different_allocations_are_joined_by_a_copy() -> None:
    tables = [np.full((n, 4), n, np.float32) for n in (2, 3)]
    assert whole(tables) is None
    table, begins = joined(tables)
    assert begins == [0, 2]
    np.testing.assert_array_equal(table[:, 0], [2, 2, 3, 3, 3])


def test_tables_part_of_a_row_apart_are_not_one() -> None:
    memory = np.zeros(64, np.float32)
    tables = [memory[:8].reshape(2, 4), memory[9:17].reshape(2, 4)]
    assert whole(tables) is None


def test_neighbouring_bags_are_read_in_place() -> None:
    steps = form_of(zoo.build("din", variant="deeprecsys", rows_scale=1e-4)).steps
    pooled = [s for s in steps if isinstance(s, Pooled)]
    assert [(p.first, p.count, p.flat) for p in pooled] == [
        (1, 250, False), (251, 1, True), (0, 1, True), (251, 2, True),
    ]  # fmt: skip


def test_unrolled_layers_are_recognised_as_rnns() -> None:
    steps = form_of(zoo.build("dien", variant="deeprecsys", rows_scale=1e-4)).steps
    rnns = [s for s in steps if isinstance(s, Rnn)]
    assert [(r.output, r.sequence) for r in rnns] == [("states", True), ("rnn_1_39", False)]
    assert sum(s.kind == "linear" for s in steps if not isinstance(s, Pooled | Rnn)) == 4


def test_a_recurrence_that_does_not_start_at_zero_stays_unrolled() -> None:
    model = zoo.build("dien", variant="deeprecsys", rows_scale=1e-4)
    weights = {**model.weights, "start": np.ones(64, np.float32)}
    from recstack.bench.recurrences import recurrences
    from recstack.model.model import build

    assert recurrences(build(model.description, weights)) == ({}, set())
