"""What the search asks, answered by engines on labelled data and kept in the journal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.data.labelled import LabelledData
from recstack.data.paired import RESAMPLES, PairedTest
from recstack.data.paired_metrics import Metric
from recstack.engine import Engine, EngineConfig, HybridEngine, compile
from recstack.errors import Unprovable
from recstack.model import Model
from recstack.model.model import build
from recstack.precision.budget import Budget, Judgement, judge
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import largest_losses, paired_test, score
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise.units import State, Unit, only, plan_of

LEVEL = 0.975  # of the first proof, so that what the search accepts has a chance there


class Variants:
    """Models whose tables are in several formats; each table is made once per format."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._made: dict[tuple[str, RowFormat], tuple[Any, NDArray[Any]]] = {}

    def model(self, plan: PrecisionPlan) -> Model:
        """The model with the plan's tables."""
        model = self._model
        tables, weights = dict(model.description.tables), dict(model.weights)
        for name in tables_of(model):
            wanted = plan.table(name)
            if wanted == model.table_formats[name]:
                continue
            if (name, wanted) not in self._made:
                made = model.with_table_formats({name: wanted}, greedy=plan.greedy)
                self._made[name, wanted] = made.description.tables[name], made.weights[name]
            tables[name], weights[name] = self._made[name, wanted]
        return build(model.description.with_tables(tables), weights)

    def engine(self, plan: PrecisionPlan, config: EngineConfig) -> Engine | HybridEngine:
        """The engine of a plan."""
        return compile(self.model(plan), config.model_copy(update={"precision": plan.layers}))


class Scored:
    """Answers of `search.Measured`.

    data: what the halves are of. small: the part of the search rows that sensitivities are measured
    on. greedy: of the plans.
    """

    def __init__(
        self,
        variants: Variants,
        units: Sequence[Unit],
        data: LabelledData,
        small: LabelledData,
        halves: tuple[LabelledData, LabelledData],
        metric: Metric,
        budget: Budget,
        journal: Journal,
        config: EngineConfig,
        seed: int,
        greedy: bool = True,
    ) -> None:
        self._variants, self._units = variants, units
        self._data, self._small, self._halves = data, small, halves
        self._metric, self._budget, self._journal = metric, budget, journal
        self._config, self._seed, self._greedy = config, seed, greedy

    def sensitivity(self, unit: int, rung: int) -> float:
        """How far the scores move with this one unit lowered (`divergence`)."""
        state = only(self._units, unit, rung)

        def ask() -> float:
            return divergence(self._reference_small, self._scores(state, self._small))

        return self._journal.answer(f"sensitivity {self._name(state)}", float, ask)

    def attempt(self, state: State) -> Judgement:
        """What the search rows say of a plan."""
        return self._judge("attempt", state, 0, LEVEL)

    def prove(self, state: State, level: float) -> Judgement:
        """What the proof rows say of a plan."""
        return self._judge("prove", state, 1, level)

    def _judge(self, question: str, state: State, half: int, level: float) -> Judgement:
        def ask() -> Judgement:
            # What is possible at all is known of closed data alone, and of both halves: no label
            # is read for it.
            which = (0, 1) if self._data.closed else (half,)
            scores = {i: self._scores(state, self._halves[i]) for i in which}
            scored = ((self._halves[i], self._tests[i].reference, s) for i, s in scores.items())
            found = self._tests[half].compare(
                self._metric, scores[half], relative=self._budget.relative, level=level,
                most=largest_losses(self._metric, self._data, scored),
            )  # fmt: skip
            return judge(found, self._budget)

        return self._journal.answer(f"{question} {self._name(state)} {level:.6g}", Judgement, ask)

    def _scores(self, state: State, data: LabelledData) -> NDArray[np.float32]:
        return score(self._variants.engine(self._plan(state), self._config), data)

    def _plan(self, state: State) -> PrecisionPlan:
        return plan_of(self._units, state, greedy=self._greedy)

    @cached_property
    def _fp32(self) -> Engine | HybridEngine:
        return self._variants.engine(PrecisionPlan(), self._config)

    @cached_property
    def _reference_small(self) -> NDArray[np.float32]:
        return score(self._fp32, self._small)

    @cached_property
    def _tests(self) -> tuple[PairedTest, PairedTest]:
        first, second = (
            paired_test(half, score(self._fp32, half), resamples=RESAMPLES, seed=self._seed)
            for half in self._halves
        )
        return first, second

    def _name(self, state: State) -> str:
        text = self._plan(state).to_toml()
        return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def search_and_proof(data: LabelledData, seed: int) -> tuple[LabelledData, LabelledData]:
    """Rows to choose on and rows to prove on, of other groups. Unprovable for too few groups."""
    halves = data.halves(seed)
    if not all(half.rows for half in halves):
        raise Unprovable(f"expected rows of at least two groups, got {data.rows} rows of fewer")
    return halves


def divergence(reference: NDArray[Any], scores: NDArray[Any]) -> float:
    """How far scores moved from the reference, summed over outputs; 0 for equal scores.

    Of probabilities the mean Kullback-Leibler divergence: what log loss would rise by if labels
    were drawn by the reference. It needs no labels, so that their noise does not hide small steps.
    Of other scores the mean squared difference over the reference's variance.
    """
    before, after = (np.asarray(a, np.float64) for a in (reference, scores))
    if not np.isfinite(after).all():
        return float(np.finfo(np.float64).max)
    if min(before.min(), after.min()) < 0 or max(before.max(), after.max()) > 1:
        spread = np.maximum(before.var(axis=0), np.finfo(np.float64).tiny)
        return float((np.square(after - before).mean(axis=0) / spread).sum())
    epsilon = np.finfo(np.float32).eps
    p, q = (np.clip(a, epsilon, 1 - epsilon) for a in (before, after))
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    return float(max(kl.mean(axis=0).sum(), 0.0))
