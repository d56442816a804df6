"""New weights under an old plan: requantise, prove again, give up what no longer holds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.engine.precision import FP32, quantisable
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.precision.calibrate import static_ranges, with_ranges
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import CHUNK_ROWS, prove
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise.costs import layer_bytes, table_bytes
from recstack.tune.quantise.measured import Scored, Variants, search_and_proof
from recstack.tune.quantise.record import precision_record
from recstack.tune.quantise.search import proof_level, search
from recstack.tune.quantise.units import Rung, Unit, ladder, plan_of


@dataclass(frozen=True, slots=True)
class Published:
    """The plan to serve the new weights with.

    given_up: tables and layers that are fp32 now and were not. reason: what the rows said last.
    """

    plan: PrecisionPlan
    given_up: tuple[str, ...]
    reason: str

    @property
    def is_fp32(self) -> bool:
        """Whether nothing of the old plan was proven."""
        tables, layers = self.plan.tables.values(), self.plan.layers.layers.values()
        return all(f == RowFormat.FP32 for f in tables) and all(p == FP32 for p in layers)

    @property
    def notes(self) -> dict[str, str]:
        """For what was given up, why."""
        return dict.fromkeys(self.given_up, "given up: not proven with these weights")

    def to_record(self, model: Model, metric: str, budget: Budget) -> dict[str, Any]:
        """As a record of a result file."""
        given_up = ", ".join(self.given_up)
        return precision_record(
            model, metric, budget,
            verdict="not_within" if self.is_fp32 else "proven",
            reason=f"{self.reason}; given up: {given_up}" if given_up else self.reason,
        )  # fmt: skip


def publish(
    model: Model,
    plan: PrecisionPlan,
    data: LabelledData,
    metric: Metric,
    budget: Budget,
    *,
    engine: EngineConfig | None = None,
    seed: int = 0,
) -> Published:
    """`plan` for new weights, as much of it as recent labelled data prove to keep `budget`.

    Static ranges are found anew on half of the data, and the plan is proven on the other; on all of
    them where no range is static. If the whole plan is not proven, its worst tables and layers
    become fp32, chosen on the first half and proven on the other, all of them if need be: there is
    always a plan. The proof of the whole plan and those after it share one error rate, as the
    proofs of a search do.

    Raises ConfigError for a plan or labels that do not fit the model, and for too few queries.
    """
    engine = engine or EngineConfig()
    proof_rows = data
    if static_ranges(plan.layers):
        first, proof_rows = search_and_proof(data, seed)
        batches = (part.batch for part in first.chunks(CHUNK_ROWS))
        plan = replace(plan, layers=with_ranges(model, plan.layers, batches))
    whole = prove(
        model, plan, proof_rows, metric, budget, config=engine, level=proof_level(1), seed=seed
    )
    if whole.holds:
        return Published(plan, (), whole.judgement.reason)
    halves = search_and_proof(data, seed)
    units = _units(model, plan)
    scored = Scored(
        Variants(model), units, halves[0], halves, metric, budget, Journal(None, {}), engine, seed
    )
    outcome = search(units, scored, proofs_before=1)
    raised = zip(units, outcome.state, strict=True)
    given_up = tuple(u.name for u, rung in raised if rung == u.top and u.top > 0)
    last = outcome.steps[-1].judgement if outcome.steps else whole.judgement
    return Published(plan_of(units, outcome.state), given_up, last.reason)


def _units(model: Model, plan: PrecisionPlan) -> tuple[Unit, ...]:
    """Each table and layer as the plan has it, where that saves memory, or in fp32."""
    units = []
    for name in tables_of(model):
        tables = [Rung(f, table_bytes(model, name, f)) for f in (RowFormat.FP32, plan.table(name))]
        units.append(Unit("table", name, ladder(tables, 0.0)))
    for name in quantisable(model):
        layers = [Rung(p, layer_bytes(model, name, p)) for p in (FP32, plan.layer(name))]
        units.append(Unit("layer", name, ladder(layers, 0.0)))
    return tuple(units)
