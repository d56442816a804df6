"""A budget for how much worse a metric may become, and what the data prove about it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recstack.data.paired import Comparison
from recstack.errors import ConfigError

LEAST_GROUPS = 30
_BUDGET = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(%?)\s*")
Outcome = Literal["within", "exceeded", "unproven"]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much worse a metric may be: a share of the reference's value, or in its own unit.

    floor: what the metric itself may not be worse than, whatever the reference's; the bad end of
    its interval decides.
    """

    limit: float
    relative: bool
    floor: float | None = None

    def __str__(self) -> str:
        return self.show(self.limit)

    def show(self, harm: float) -> str:
        """A harm in the budget's unit.

        >>> Budget(5e-4, True).show(0.00012), Budget(0.002, False).show(-0.0001)
        ('0.0120%', '-0.000100')
        """
        digits = f"{100 * harm if self.relative else harm:#.3g}"
        return f"{digits.rstrip('.')}{'%' if self.relative else ''}"


def parse_budget(text: str, floor: float | None = None) -> Budget:
    """A budget such as 0.05% (relative) or 0.002 (in the metric's unit); ConfigError otherwise.

    >>> parse_budget("0.05%")
    Budget(limit=0.0005, relative=True, floor=None)
    """
    found = _BUDGET.fullmatch(text)
    if not found:
        raise ConfigError(f"expected a budget such as 0.05% or 0.002, got {text!r}")
    relative = bool(found[2])
    return Budget(round(float(found[1]) / (100 if relative else 1), 15), relative, floor)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What comparisons, one per task, say about a budget.

    within: the bad end of every task's interval is within it. exceeded: some interval lies past it,
    or a score is not finite. unproven: neither. worst: the task that decides. rows_needed: rows
    that would about prove what the estimate says, where it keeps the budget and the interval does
    not.
    """

    outcome: Outcome
    worst: Comparison
    rows_needed: int | None
    reason: str


def judge(found: Sequence[Comparison], budget: Budget) -> Judgement:
    """Whether every task's harm is within the budget, by the bad end of its interval.

    Under 30 independent groups prove nothing: too few for a bootstrap to hold its level.
    """
    if broken := next((c for c in found if not math.isfinite(c.candidate)), None):
        return Judgement(
            "exceeded", broken, None, f"scores of task {broken.task} are not all finite"
        )
    worst = max(found, key=lambda c: c.harm.high)
    shown = (
        f"{worst.metric} {worst.reference:.6f} -> {worst.candidate:.6f}: worse by "
        f"{budget.show(worst.harm.value)} [{budget.show(worst.harm.low)}, "
        f"{budget.show(worst.harm.high)}] ({worst.level:.4g} level, {worst.rows:,} rows, "
        f"{worst.groups:,} groups)"
    )
    if below := next((c for c in found if _past(c, c.candidate, budget.floor)), None):
        which = f"{below.metric} of task {below.task} is {below.candidate:.6f}"
        return Judgement("exceeded", below, None, f"{which}, past the floor {budget.floor}")
    if any(c.harm.low > budget.limit for c in found):
        return Judgement("exceeded", worst, None, f"{shown} is past {budget}")
    if min(c.groups for c in found) < LEAST_GROUPS and not all(c.identical for c in found):
        fewest = min(found, key=lambda c: c.groups)
        return Judgement(
            "unproven",
            worst,
            math.ceil(fewest.rows * LEAST_GROUPS / max(fewest.groups, 1)),
            f"{shown}: {fewest.groups} independent groups prove nothing, expected at least "
            f"{LEAST_GROUPS}",
        )
    if worst.harm.high > budget.limit:
        room, reach = budget.limit - worst.harm.value, worst.harm.high - worst.harm.value
        needed = _rows_needed(worst.rows, room, reach)
        return Judgement("unproven", worst, needed, f"{shown}: the interval reaches past {budget}")
    if doubtful := next((c for c in found if _past(c, c.worst, budget.floor)), None):
        assert budget.floor is not None
        room, reach = (abs(end - doubtful.candidate) for end in (budget.floor, doubtful.worst))
        needed = _rows_needed(doubtful.rows, room, reach)
        which = f"{doubtful.metric} of task {doubtful.task} is {doubtful.candidate:.6f}"
        return Judgement(
            "unproven",
            doubtful,
            needed,
            f"{which}, its interval reaches {doubtful.worst:.6f}, past the floor {budget.floor}",
        )
    return Judgement("within", worst, None, f"{shown} is within {budget}")


def _past(found: Comparison, value: float, floor: float | None) -> bool:
    if floor is None:
        return False
    return value < floor if found.higher_is_better else value > floor


def _rows_needed(rows: int, room: float, reach: float) -> int | None:
    """Rows at which an interval, which narrows with their root, would reach as far as room."""
    if not (room > 0 and math.isfinite(reach)):
        return None
    return math.ceil(rows * (reach / room) ** 2)
