from __future__ import annotations

from dataclasses import replace

import pytest

from recstack.data.metrics import Interval
from recstack.data.paired import Comparison
from recstack.errors import ConfigError
from recstack.precision.budget import Budget, judge, parse_budget

BUDGET = Budget(5e-4, relative=True)


def comparison(value: float, low: float, high: float, groups: int = 500) -> Comparison:
    harm, after, worst = Interval(value, low, high), 0.7 * (1 + value), 0.705
    return Comparison(
        "ne", False, 0, 0.7, after, harm, True, 0.95, 10_000, groups, worst, identical=False
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("0.05%", Budget(5e-4, True)), (" .1 % ", Budget(1e-3, True)), ("0.002", Budget(2e-3, False)),
     ("1e-3", None), ("-1%", None), ("", None), ("%", None)],
)  # fmt: skip
def test_budgets_are_shares_or_in_the_unit(text: str, wanted: Budget | None) -> None:
    if wanted:
        assert parse_budget(text) == wanted
    else:
        with pytest.raises(ConfigError, match="expected a budget"):
            parse_budget(text)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (comparison(1e-4, -2e-4, 4e-4), "within"),
        (comparison(1e-4, -2e-4, 6e-4), "unproven"),
        (comparison(9e-4, 6e-4, 12e-4), "exceeded"),
        (comparison(6e-4, 4e-4, 8e-4), "unproven"),
        (comparison(1e-6, -1e-6, 1e-6, groups=29), "unproven"),
        (comparison(0, 0, 0, groups=3), "unproven"),
        (replace(comparison(0, 0, 0, groups=3), identical=True), "within"),
    ],
)
def test_the_bad_end_of_the_interval_decides(found: Comparison, outcome: str) -> None:
    judgement = judge([found], BUDGET)
    assert judgement.outcome == outcome
    assert "[" in judgement.reason and "%" in judgement.reason


def test_every_task_must_keep_the_budget() -> None:
    good, bad = comparison(0, -1e-4, 1e-4), comparison(1e-4, -2e-4, 6e-4)
    assert judge([good, replace(bad, task=1)], BUDGET).worst.task == 1


def test_rows_needed_follow_from_the_width() -> None:
    assert judge([comparison(1e-4, -7e-4, 9e-4)], BUDGET).rows_needed == 40_000
    assert judge([comparison(6e-4, 4e-4, 8e-4)], BUDGET).rows_needed is None
    assert judge([comparison(1e-6, -1e-6, 1e-6, groups=3)], BUDGET).rows_needed == 100_000


def test_a_floor_holds_whatever_the_reference() -> None:
    found = comparison(0, -1e-5, 1e-5)
    assert judge([found], replace(BUDGET, floor=0.71)).outcome == "within"
    assert judge([found], replace(BUDGET, floor=0.69)).outcome == "exceeded"
    higher = replace(found, higher_is_better=True, worst=0.695)
    assert judge([higher], replace(BUDGET, floor=0.71)).outcome == "exceeded"
    assert judge([higher], replace(BUDGET, floor=0.69)).outcome == "within"


def test_a_floor_within_the_interval_is_not_proven() -> None:
    found = comparison(0, -1e-5, 1e-5)  # 0.7, at worst 0.705
    judged = judge([found], replace(BUDGET, floor=0.702))
    assert (judged.outcome, judged.rows_needed) == ("unproven", 62_500)
    assert "reaches 0.705000, past the floor 0.702" in judged.reason
    higher = replace(found, higher_is_better=True, worst=0.695)
    assert judge([higher], replace(BUDGET, floor=0.698)).outcome == "unproven"


def test_scores_that_are_not_finite_exceed_any_budget() -> None:
    nan, inf = float("nan"), float("inf")
    found = replace(comparison(0, inf, inf), candidate=nan, worst=nan)
    judged = judge([comparison(0, -1e-5, 1e-5), replace(found, task=1)], BUDGET)
    assert (judged.outcome, judged.worst.task) == ("exceeded", 1)
    assert "not all finite" in judged.reason
