"""`quantise`: split the data, find what there is to choose and what it costs, search, prove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.precision.plan import PrecisionPlan
from recstack.precision.proof import check_labels
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise.about import about
from recstack.tune.quantise.config import Objective, QuantiseConfig
from recstack.tune.quantise.measured import Scored, Variants, search_and_proof
from recstack.tune.quantise.offer import units_of
from recstack.tune.quantise.record import harm_record, precision_record
from recstack.tune.quantise.search import Outcome, Step, search
from recstack.tune.quantise.units import Unit, describe, plan_of

SMALL_QUERIES = 32  # that sensitivities are measured on, at least


@dataclass(frozen=True, slots=True)
class Quantised:
    """What a search found.

    plan: the one to use; all fp32 unless `outcome.verdict` is proven. units: what there was to
    choose, in the order of the outcome's state. notes: per table and layer why it has its
    precision.
    """

    plan: PrecisionPlan
    outcome: Outcome
    units: tuple[Unit, ...]
    notes: Mapping[str, str]
    objective: Objective

    @property
    def reason(self) -> str:
        """What the deciding rows said, or what is missing."""
        if self.outcome.verdict == "proven":
            return self.outcome.steps[-1].judgement.reason
        if self.outcome.verdict == "too_small":
            return (
                f"the data are too small to prove the budget: the plan closest to it needs about "
                f"{self.outcome.rows_needed:,} rows; {self._closest.judgement.reason}"
            )
        if not any(u.top for u in self.units):
            return "there is nothing to save: no table or layer is cheaper in another format"
        return "no plan that saves anything keeps the budget"

    @property
    def _closest(self) -> Step:
        small = [s for s in self.outcome.steps if s.judgement.rows_needed is not None]
        return min(small, key=lambda s: s.judgement.rows_needed or 0)

    def to_record(self, model: Model, metric: str, budget: Budget) -> dict[str, Any]:
        """As a record of a result file."""
        tried = [
            {"rows": s.rows, "cost": s.cost, "outcome": s.judgement.outcome,
             "harm": harm_record(s.judgement), "reason": s.judgement.reason}
            for s in self.outcome.steps
        ]  # fmt: skip
        chosen = [
            {"name": u.name, "kind": u.kind, "precision": describe(u.ladder[rung].precision),
             "cost": u.ladder[rung].cost, "fp32_cost": u.ladder[-1].cost,
             "note": self.notes.get(u.name, "")}
            for u, rung in zip(self.units, self.outcome.state, strict=True)
        ]  # fmt: skip
        return precision_record(
            model, metric, budget, verdict=self.outcome.verdict, reason=self.reason,
            rows_needed=self.outcome.rows_needed, objective=self.objective, tried=tried,
            chosen=chosen,
        )  # fmt: skip


def quantise(
    model: Model,
    data: LabelledData,
    metric: Metric,
    budget: Budget,
    config: QuantiseConfig | None = None,
    *,
    engine: EngineConfig | None = None,
    journal: Path | None = None,
    watch: Callable[[str, int, int], None] = lambda what, done, of: None,
    step: Callable[[Step], None] = lambda step: None,
) -> Quantised:
    """The cheapest plan for `model` that is proven to keep `budget` on labelled data.

    Half of the data's groups choose the plan, the other half prove it. journal: a file that keeps
    every measurement, so that a search that was stopped goes on. watch: told what is measured, and
    how many of how many are; step: told of every plan that was tried.

    Raises ConfigError for a model whose tables are in few bits already, for labels that do not fit
    it and for a journal of another search, Unprovable for data that can prove nothing.
    """
    config, engine = config or QuantiseConfig(), engine or EngineConfig()
    check_labels(model, data)
    if coarse := [(n, f) for n, f in model.table_formats.items() if f != RowFormat.FP32]:
        raise ConfigError(
            f"expected tables in fp32, got {coarse[0][0]!r} in {coarse[0][1]}: "
            "quantise the original model"
        )
    halves = search_and_proof(data, config.seed)
    small = halves[0].sample(config.small_rows, config.seed, queries=SMALL_QUERIES)
    with Journal(journal, about(model, data, metric, budget, config, engine)) as answers:
        units = units_of(model, small, config, answers, watch)
        scored = Scored(
            Variants(model), units, data, small, halves, metric, budget, answers, engine,
            config.seed,
        )  # fmt: skip
        outcome = search(units, scored, watch=step)
        notes = _notes(units, outcome, scored)
    return Quantised(plan_of(units, outcome.state), outcome, units, notes, config.objective)


def _notes(units: tuple[Unit, ...], outcome: Outcome, scored: Scored) -> dict[str, str]:
    """For every table and layer, in a few words, why it has its precision."""
    found = {}
    for i, (unit, rung) in enumerate(zip(units, outcome.state, strict=True)):
        if unit.top == 0:
            found[unit.name] = unit.note
        elif outcome.verdict != "proven":
            found[unit.name] = "nothing was proven"
        elif rung == 0:
            found[unit.name] = f"alone moves scores by {scored.sensitivity(i, 0):.1e}"
        else:
            coarser = describe(unit.ladder[0].precision)
            found[unit.name] = f"{coarser} would move scores by {scored.sensitivity(i, 0):.1e}"
    return found
