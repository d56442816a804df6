"""The search over a model of harms that add up: what it finds is known."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from itertools import product

import pytest

from recstack.data.metrics import Interval
from recstack.data.paired import Comparison
from recstack.engine.precision import LayerPrecision
from recstack.precision.budget import Budget, Judgement, judge
from recstack.rows import RowFormat
from recstack.tune.quantise.search import Outcome, proof_level, search
from recstack.tune.quantise.units import (
    Rung,
    State,
    Unit,
    cost_of,
    finest,
    ladder,
    only,
    plan_of,
    raises,
    worthwhile,
)

BUDGET = Budget(1e-3, relative=True)
TABLE = [RowFormat.INT4, RowFormat.INT8, RowFormat.FP16, RowFormat.FP32]


def unit(name: str, costs: list[float]) -> Unit:
    rungs = [Rung(f, c) for f, c in zip(TABLE[-len(costs) :], costs, strict=True)]
    return Unit("table", name, tuple(rungs))


@dataclass
class Known:
    """Harms by unit and rung that add up; the proof rows see `off` more, and are `width` wide."""

    harms: list[list[float]]
    width: float = 1e-5
    off: float = 0.0
    asked: list[State] = field(default_factory=list)
    proofs: list[float] = field(default_factory=list)

    def harm(self, state: State) -> float:
        return sum(h[r] for h, r in zip(self.harms, state, strict=True))

    def sensitivity(self, unit: int, rung: int) -> float:
        return self.harms[unit][rung]

    def attempt(self, state: State) -> Judgement:
        self.asked.append(state)
        return self._judge(self.harm(state), 0.975)

    def prove(self, state: State, level: float) -> Judgement:
        self.proofs.append(level)
        return self._judge(self.harm(state) + self.off, level)

    def _judge(self, harm: float, level: float) -> Judgement:
        interval = Interval(harm, harm - self.width, harm + self.width)
        found = Comparison(
            "ne", False, 0, 1.0, 1 + harm, interval, True, level, 1000, 100, 2.0, identical=False
        )
        return judge([found], BUDGET)


UNITS = (unit("a", [1, 2, 4, 8]), unit("b", [10, 20, 40, 80]), unit("c", [5, 9, 18, 36]))


def test_the_cheapest_plan_is_kept_where_it_is_good_enough() -> None:
    known = Known([[1e-5, 0, 0, 0]] * 3)
    found = search(UNITS, known)
    assert (found.verdict, found.state) == ("proven", (0, 0, 0))
    assert known.asked == [(0, 0, 0)] and known.proofs == [0.975]
    assert found.steps[-1].rows == "proof" and found.steps[-1].cost == 16


def test_only_the_worst_unit_is_raised() -> None:
    known = Known([[1e-5, 0, 0, 0], [1e-5, 0, 0, 0], [1.0, 1e-5, 0, 0]])
    assert search(UNITS, known).state == (0, 0, 1)


def test_a_rung_that_changes_little_is_passed_over() -> None:
    known = Known([[1e-5, 0, 0, 0], [1e-5, 0, 0, 0], [1.0, 0.9, 1e-5, 0]])
    assert next(iter(raises(UNITS, (0, 0, 0), known.sensitivity))) == (0, 0, 2)
    assert search(UNITS, known).state == (0, 0, 2)


def test_a_raise_is_exchanged_for_a_cheaper_one() -> None:
    """b is worst by a hair and dear to raise; raising a does as well."""
    known = Known([[8e-4, 1e-5, 0, 0], [8.1e-4, 7.9e-4, 7.8e-4, 0], [1e-5, 0, 0, 0]])
    found = search(UNITS, known)
    best = min(
        (s for s in product(range(4), repeat=3) if known.harm(s) + known.width <= BUDGET.limit),
        key=lambda s: cost_of(UNITS, s),
    )
    assert found.state == best == (1, 0, 0)


def test_search_is_close_to_the_best_of_all_plans() -> None:
    worse = []
    for seed in range(100):
        rng = random.Random(seed)
        harms = []
        for _ in UNITS:
            first = 10 ** rng.uniform(-5, -2.5)
            harms.append([first, first / rng.uniform(2, 30), first / rng.uniform(50, 500), 0.0])
        known = Known(harms)
        found = search(UNITS, known)
        assert found.verdict == "proven" or found.state == finest(UNITS)
        good = [s for s in product(range(4), repeat=3)
                if known.harm(s) + known.width <= BUDGET.limit]  # fmt: skip
        worse.append(cost_of(UNITS, found.state) / min(cost_of(UNITS, s) for s in good))
    assert sum(worse) / len(worse) < 1.05


def test_few_plans_are_tried_among_many_units() -> None:
    units = tuple(unit(f"t{i}", [1, 2, 4, 8]) for i in range(200))
    harms = [[1e-5 * (i + 1), 1e-9, 0, 0] for i in range(200)]
    known = Known(harms)
    found = search(units, known)
    assert found.verdict == "proven"
    assert known.harm(found.state) <= BUDGET.limit
    raised = sum(r > 0 for r in found.state)
    assert len(known.asked) < 20 + 2 * raised


def test_after_a_failed_proof_more_is_raised_at_a_higher_level() -> None:
    harms = [[3e-4, 1e-4, 0, 0], [3e-4, 1e-4, 0, 0], [3e-4, 1e-4, 0, 0]]
    known = Known(harms, off=3e-4)
    found = search(UNITS, known)
    assert found.verdict == "proven" and found.state != (0, 0, 0)
    assert known.proofs == [proof_level(j) for j in range(1, len(known.proofs) + 1)]
    assert len(known.proofs) > 1
    assert sum(1 - proof_level(j) for j in range(1, 10_000)) == pytest.approx(0.05, rel=1e-3)


def test_data_that_cannot_prove_it_are_named_with_the_rows_they_lack() -> None:
    known = Known([[1e-4, 1e-5, 1e-5, 0]] * 3, width=5e-3)
    found = search(UNITS, known)
    assert (found.verdict, found.state) == ("too_small", finest(UNITS))
    assert found.rows_needed is not None and found.rows_needed > 2 * 1000 * 4.9**2


def test_a_budget_that_nothing_keeps() -> None:
    found = search(UNITS, Known([[1.0, 1.0, 1.0, 0]] * 3))
    assert (found.verdict, found.state, found.rows_needed) == ("not_within", finest(UNITS), None)


def test_the_same_answers_give_the_same_search() -> None:
    harms = [[8e-4, 1e-5, 0, 0], [8.1e-4, 7.9e-4, 7.8e-4, 0], [1e-5, 0, 0, 0]]
    first, second = (search(UNITS, Known(harms)) for _ in range(2))
    assert isinstance(first, Outcome) and first == second


def test_ladders_hold_only_what_saves() -> None:
    rungs = [Rung(RowFormat.FP32, 4), Rung(RowFormat.FP16, 3.9), Rung(RowFormat.INT8, 2)]
    assert [r.cost for r in ladder(rungs, 0.05)] == [2, 4]
    units = worthwhile([unit("big", [1, 100]), unit("small", [0.1, 0.2])], 0.005)
    assert [len(u.ladder) for u in units] == [2, 1]
    assert finest(units) == (1, 0)
    many = worthwhile([unit(f"t{i}", [1, 4]) for i in range(400)], 0.005)
    assert sum(len(u.ladder) == 1 for u in many) == 2  # 0.19% each, all of them much


def test_states_become_plans() -> None:
    layer = Unit("layer", "top", (Rung(LayerPrecision("int8"), 1), Rung(LayerPrecision(), 4)))
    units = (UNITS[0], layer)
    plan = plan_of(units, (2, 0))
    assert plan.table("a") == RowFormat.FP16 and plan.layer("top").format == "int8"
    assert only(units, 1, 0) == (3, 0)
