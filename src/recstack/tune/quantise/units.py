"""What a search may choose: for every table and layer a ladder of precisions, cheapest first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from recstack.engine.precision import LayerPlan, LayerPrecision
from recstack.precision.plan import PrecisionPlan, describe_layer
from recstack.rows import RowFormat

Precision = RowFormat | LayerPrecision
State = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """One precision and what a unit costs in it, in the objective's unit."""

    precision: Precision
    cost: float


@dataclass(frozen=True, slots=True)
class Unit:
    """A table or a layer, and its precisions: ascending in cost, the last is fp32.

    note: why there is nothing to choose, where there is not.
    """

    kind: Literal["table", "layer"]
    name: str
    ladder: tuple[Rung, ...]
    note: str = "no cheaper format fits"

    @property
    def top(self) -> int:
        """The rung of fp32."""
        return len(self.ladder) - 1


def ladder(finest_first: Sequence[Rung], margin: float) -> tuple[Rung, ...]:
    """The rungs worth trying, cheapest first: each cheaper than every finer one by a share.

    >>> rungs = [Rung(RowFormat.FP32, 4), Rung(RowFormat.FP16, 2), Rung(RowFormat.INT8, 9)]
    >>> [str(r.precision) for r in ladder(rungs, 0.02)]
    ['fp16', 'fp32']
    """
    kept = [finest_first[0]]
    for rung in finest_first[1:]:
        if rung.cost < kept[-1].cost * (1 - margin):
            kept.append(rung)
    return tuple(reversed(kept))


def worthwhile(units: Iterable[Unit], least_share: float) -> tuple[Unit, ...]:
    """The units, those left in fp32 that save least: together under a share of all cost."""
    listed = list(units)
    total = sum(u.ladder[-1].cost for u in listed)
    savings = [u.ladder[-1].cost - u.ladder[0].cost for u in listed]
    left_out, saved = set(), 0.0
    for i in sorted(range(len(listed)), key=lambda i: (savings[i], i)):
        saved += savings[i]
        if saved >= least_share * total:
            break
        left_out.add(i)
    return tuple(
        replace(u, ladder=u.ladder[-1:], note="too little to save")
        if i in left_out and u.top
        else u
        for i, u in enumerate(listed)
    )


def describe(precision: Precision) -> str:
    """A precision in a few words."""
    return str(precision) if isinstance(precision, RowFormat) else describe_layer(precision)


def plan_of(units: Sequence[Unit], state: State, *, greedy: bool = True) -> PrecisionPlan:
    """The plan in which every unit has its rung."""
    chosen = [(u, u.ladder[rung].precision) for u, rung in zip(units, state, strict=True)]
    return PrecisionPlan(
        tables={u.name: p for u, p in chosen if isinstance(p, RowFormat)},
        layers=LayerPlan(layers={u.name: p for u, p in chosen if isinstance(p, LayerPrecision)}),
        greedy=greedy,
    )


def cost_of(units: Sequence[Unit], state: State) -> float:
    """The sum of the units' costs."""
    return sum(u.ladder[rung].cost for u, rung in zip(units, state, strict=True))


def finest(units: Sequence[Unit]) -> State:
    """All in fp32."""
    return tuple(u.top for u in units)


def only(units: Sequence[Unit], unit: int, rung: int) -> State:
    """All in fp32 but one."""
    return tuple(rung if i == unit else u.top for i, u in enumerate(units))


def raises(
    units: Sequence[Unit], state: State, sensitivity: Callable[[int, int], float]
) -> Iterable[State]:
    """States from `state` on, each with the then worst unit raised, up to all in fp32.

    sensitivity(unit, rung): the harm of that unit in that rung alone. A unit is raised to the next
    rung that halves its harm, so that steps which change little are passed over.
    """
    while state != finest(units):
        able = [i for i, u in enumerate(units) if state[i] < u.top]
        # Of equal harm the first unit: the order must not depend on anything but the numbers.
        worst = max(able, key=lambda i: (sensitivity(i, state[i]), -i))
        before, rung = sensitivity(worst, state[worst]), state[worst] + 1
        while rung < units[worst].top and sensitivity(worst, rung) > before / 2:
            rung += 1
        state = (*state[:worst], rung, *state[worst + 1 :])
        yield state
