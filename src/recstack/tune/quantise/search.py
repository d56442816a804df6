"""The search: the cheapest plan first, its worst units raised until the budget is proven.

1. All units stand on their cheapest rung. On the search rows, units are raised in the order of
   their measured harm until the interval's bad end is within the budget: the fewest raises that do,
   found by doubling and bisecting.
2. Each raised unit is lowered a rung again, the largest saving first, where the budget still
   holds: with the others as they are, or else with others raised that cost less than it saves.
3. The plan is proven on rows that the search has never seen. The j-th proof of a run is held to a
   level of 1 - 0.05 / (j * (j + 1)): all proofs together wrongly pass a plan no more often than one
   at the 95% level would. After a failed proof more units are raised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from recstack.precision.budget import Judgement
from recstack.precision.proof import LEVEL
from recstack.tune.quantise.units import State, Unit, cost_of, finest, raises

MOST_PROOFS = 6
Verdict = Literal["proven", "too_small", "not_within"]


class Measured(Protocol):
    """What the search asks of a model and its data; every answer is kept in the journal."""

    def sensitivity(self, unit: int, rung: int) -> float:
        """How far the scores move, on a part of the search rows, with this one unit lowered."""

    def attempt(self, state: State) -> Judgement:
        """What the search rows say of a plan."""

    def prove(self, state: State, level: float) -> Judgement:
        """What the proof rows say of a plan, at a level."""


@dataclass(frozen=True, slots=True)
class Step:
    """One plan that was tried: on which rows, and what they said."""

    rows: Literal["search", "proof"]
    state: State
    cost: float
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a search ended.

    state: the plan to use; all fp32 unless `verdict` is proven. steps: every plan tried, in order.
    rows_needed: where the data were too small, about how many rows of them would do.
    """

    verdict: Verdict
    state: State
    steps: tuple[Step, ...]
    rows_needed: int | None = None


def proof_level(proof: int) -> float:
    """The level of the proof number 1, 2, ...: what they may err by sums to what one may.

    >>> [round(proof_level(j), 4) for j in (1, 2, 3)]
    [0.975, 0.9917, 0.9958]
    """
    return 1 - (1 - LEVEL) / (proof * (proof + 1))


def search(
    units: Sequence[Unit],
    measured: Measured,
    *,
    watch: Callable[[Step], None] = lambda step: None,
    proofs_before: int = 0,
) -> Outcome:
    """The cheapest plan that is proven; see the module for how.

    proofs_before: proofs that were made of the same plan before this, which the error rate covers.
    """
    return _Search(units, measured, watch).run(proofs_before)


class _Search:
    def __init__(
        self, units: Sequence[Unit], measured: Measured, watch: Callable[[Step], None]
    ) -> None:
        self._units = units
        self._measured = measured
        self._watch = watch
        self._steps: list[Step] = []
        self._known: dict[State, bool] = {}

    def run(self, proofs_before: int) -> Outcome:
        state = self._cheapen(self._raise(tuple(0 for _ in self._units)))
        more = 1
        for proof in range(1, MOST_PROOFS + 1):
            if state == finest(self._units):
                break
            judgement = self._measured.prove(state, proof_level(proof + proofs_before))
            self._note("proof", state, judgement)
            if judgement.outcome == "within":
                return Outcome("proven", state, tuple(self._steps))
            state = self._raised(state, more)
            more *= 2
        return self._nothing()

    def _raise(self, state: State) -> State:
        """The state with the fewest raises that the search rows accept, or all fp32."""
        if self._accepts(state):
            return state
        order = list(raises(self._units, state, self._measured.sensitivity))
        failed, reach = -1, 0
        while reach < len(order) - 1 and not self._accepts(order[reach]):
            failed, reach = reach, min(2 * reach + 1, len(order) - 1)
        while reach - failed > 1:
            middle = (failed + reach) // 2
            if self._accepts(order[middle]):
                reach = middle
            else:
                failed = middle
        return order[reach] if order else state

    def _cheapen(self, state: State) -> State:
        """`state` with units lowered a rung, the largest saving first, while that is accepted."""
        tried: set[tuple[int, int]] = set()
        if state == finest(self._units):
            return state
        while True:
            savings = {
                (i, state[i] - 1): unit.ladder[state[i]].cost - unit.ladder[state[i] - 1].cost
                for i, unit in enumerate(self._units)
                if state[i] > 0 and (i, state[i] - 1) not in tried
            }
            if not savings:
                return state
            unit, rung = max(savings, key=lambda key: (savings[key], -key[0]))
            tried.add((unit, rung))
            lowered = (*state[:unit], rung, *state[unit + 1 :])
            if self._accepts(lowered):
                state = lowered
            elif (other := self._exchanged(state, lowered, unit)) and self._accepts(other):
                state = other

    def _exchanged(self, state: State, lowered: State, unit: int) -> State | None:
        """`lowered` with other units raised until the harms sum to what they do in `state`.

        The raise that gains most for its cost comes first; None unless the result is cheaper than
        `state`.
        """
        harm = self._measured.sensitivity
        most = sum(harm(i, rung) for i, rung in enumerate(state))
        while sum(harm(i, rung) for i, rung in enumerate(lowered)) > most:
            gains = {}
            for i, u in enumerate(self._units):
                if i != unit and lowered[i] < u.top:
                    at = lowered[i]
                    added = u.ladder[at + 1].cost - u.ladder[at].cost
                    gains[i] = (harm(i, at) - harm(i, at + 1)) / added
            best = max(gains, key=lambda i: (gains[i], -i), default=None)
            if best is None or gains[best] <= 0:
                return None
            lowered = (*lowered[:best], lowered[best] + 1, *lowered[best + 1 :])
            if cost_of(self._units, lowered) >= cost_of(self._units, state):
                return None
        return lowered

    def _raised(self, state: State, times: int) -> State:
        for _, raised in zip(
            range(times), raises(self._units, state, self._measured.sensitivity), strict=False
        ):
            state = raised
        return state

    def _accepts(self, state: State) -> bool:
        """Whether the search rows put the plan within the budget; all fp32 always is."""
        if state == finest(self._units):
            return True
        if state not in self._known:
            judgement = self._measured.attempt(state)
            self._note("search", state, judgement)
            self._known[state] = judgement.outcome == "within"
        return self._known[state]

    def _note(self, rows: Literal["search", "proof"], state: State, judgement: Judgement) -> None:
        step = Step(rows, state, cost_of(self._units, state), judgement)
        self._steps.append(step)
        self._watch(step)

    def _nothing(self) -> Outcome:
        """No plan is proven: were the data too small, or is every plan too far off?"""
        small = [s for s in self._steps if s.judgement.rows_needed is not None]
        if not small:
            return Outcome("not_within", finest(self._units), tuple(self._steps))
        least = min(small, key=lambda s: s.judgement.rows_needed or 0)
        share = 2  # a proof has half of the data
        needed = share * (least.judgement.rows_needed or 0)
        return Outcome("too_small", finest(self._units), tuple(self._steps), needed)
