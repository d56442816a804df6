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

    floor: what the metric itself may not be worse than, whatever the reference's.
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

    within: the bad end of every task's interval is within it. exceeded: some interval lies past it.
    unproven: neither. worst: the task that decides. rows_needed: rows that would about prove what
    the estimate says, where it lies within the budget and the interval does not.
    """

    outcome: Outcome
    worst: Comparison
    rows_needed: int | None
    reason: str


def judge(found: Sequence[Comparison], budget: Budget) -> Judgement:
    """Whether every task's harm is within the budget, by the bad end of its interval.

    Under 30 independent groups prove nothing: too few for a bootstrap to hold its level.
    """
    worst = max(found, key=lambda c: c.harm.high)
    shown = (
        f"{worst.metric} {worst.reference:.6f} -> {worst.candidate:.6f}: worse by "
        f"{budget.show(worst.harm.value)} [{budget.show(worst.harm.low)}, "
        f"{budget.show(worst.harm.high)}] ({worst.level:.4g} level, {worst.rows:,} rows, "
        f"{worst.groups:,} groups)"
    )
    below = [c for c in found if _worse(c, budget.floor)]
    if below:
        which = f"{below[0].metric} of task {below[0].task} is {below[0].candidate:.6f}"
        return Judgement("exceeded", below[0], None, f"{which}, past the floor {budget.floor}")
    identical = all(c.harm.low == c.harm.high == 0 for c in found)
    if any(c.harm.low > budget.limit for c in found):
        return Judgement("exceeded", worst, None, f"{shown} is past {budget}")
    if min(c.groups for c in found) < LEAST_GROUPS and not identical:
        fewest = min(found, key=lambda c: c.groups)
        needed = math.ceil(fewest.rows * LEAST_GROUPS / max(fewest.groups, 1))
        return Judgement(
            "unproven",
            worst,
            needed,
            f"{shown}: {fewest.groups} independent groups prove nothing, expected at least "
            f"{LEAST_GROUPS}",
        )
    if worst.harm.high <= budget.limit:
        return Judgement("within", worst, None, f"{shown} is within {budget}")
    return Judgement(
        "unproven",
        worst,
        _rows_needed(worst, budget),
        f"{shown}: the interval reaches past {budget}",
    )


def _worse(found: Comparison, floor: float | None) -> bool:
    if floor is None:
        return False
    return found.candidate < floor if found.higher_is_better else found.candidate > floor


def _rows_needed(found: Comparison, budget: Budget) -> int | None:
    """Rows at which the interval, which narrows with their root, would end at the budget."""
    room, reach = budget.limit - found.harm.value, found.harm.high - found.harm.value
    if room <= 0 or not math.isfinite(reach):
        return None
    return math.ceil(found.rows * (reach / room) ** 2)
