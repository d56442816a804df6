"""New weights under an old plan: requantise, prove again, give up what no longer holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.engine.precision import FP32, check_plan, quantisable
from recstack.errors import Unprovable
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.precision.calibrate import static_ranges, with_ranges
from recstack.precision.plan import PrecisionPlan, tables_of, uniform
from recstack.precision.proof import CHUNK_ROWS, check_labels, prove
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise.costs import layer_bytes, layer_fits, table_bytes, table_fits
from recstack.tune.quantise.measured import Scored, Variants, search_and_proof
from recstack.tune.quantise.record import precision_record
from recstack.tune.quantise.search import Verdict, proof_level, search
from recstack.tune.quantise.units import Precision, Rung, Unit, describe, finest, plan_of

UNPROVEN = "given up: not proven with these weights"


@dataclass(frozen=True, slots=True)
class Published:
    """The plan to serve the new weights with.

    given_up: tables and layers that are fp32 now and were not, and why. reason: what the rows said
    last. verdict: proven, unless nothing of the old plan was, or what was is not faster than fp32.
    """

    plan: PrecisionPlan
    given_up: Mapping[str, str]
    reason: str
    verdict: Verdict | Literal["not_faster"]

    @property
    def is_fp32(self) -> bool:
        """Whether no table and no layer is in fewer bits."""
        tables, layers = self.plan.tables.values(), self.plan.layers.layers.values()
        return all(f == RowFormat.FP32 for f in (self.plan.default_table, *tables)) and all(
            p == FP32 for p in (self.plan.layers.default, *layers)
        )

    def not_faster(self, model: Model, reason: str) -> Published:
        """All fp32, since this plan takes no less time; what was given up before keeps its note."""
        lowered = [
            *(n for n in tables_of(model) if self.plan.table(n) != RowFormat.FP32),
            *(n for n in quantisable(model) if self.plan.layer(n) != FP32),
        ]
        lost = dict.fromkeys(lowered, "given up: the plan is not faster than fp32")
        return Published(
            uniform(model, "fp32", "fp32"), {**lost, **self.given_up}, reason, "not_faster"
        )

    def to_record(self, model: Model, metric: str, budget: Budget) -> dict[str, Any]:
        """As a record of a result file."""
        given_up = ", ".join(self.given_up)
        return precision_record(
            model, metric, budget,
            verdict=self.verdict,
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

    What cannot hold the new weights becomes fp32. Static ranges are found anew on half of the data,
    and the plan is proven on the other; on all of them where no range is static. If the whole plan
    is not proven, its worst tables and layers become fp32, chosen on the first half and proven on
    the other, all of them if need be, and all where the data can prove nothing: there is always a
    plan. The proof of the whole plan and those after it share one error rate, as the proofs of a
    search do.

    Raises ConfigError for a plan or labels that do not fit the model, and where its scores of the
    data are not finite in fp32 already: no precision of such weights is worth serving.
    """
    engine = engine or EngineConfig()
    check_labels(model, data)
    plan, given_up = _that_fits(model, plan)
    try:
        proof_rows = data
        if static_ranges(plan.layers):
            first, proof_rows = search_and_proof(data, seed)
            batches = (part.batch for part in first.chunks(CHUNK_ROWS))
            plan = replace(plan, layers=with_ranges(model, plan.layers, batches))
        whole = prove(
            model, plan, proof_rows, metric, budget, config=engine, level=proof_level(1), seed=seed
        )
        if whole.holds:
            return Published(plan, given_up, whole.judgement.reason, "proven")
        units, halves = _units(model, plan), search_and_proof(data, seed)
        scored = Scored(
            Variants(model), units, data, halves[0], halves, metric, budget, Journal(None, {}),
            engine, seed, plan.greedy,
        )  # fmt: skip
        outcome = search(units, scored, proofs_before=1)
    except Unprovable as error:
        units = _units(model, plan)
        lost = {u.name: f"given up: {error}" for u in units if u.top}
        fp32 = plan_of(units, finest(units), greedy=plan.greedy)
        reason = f"the data cannot prove the budget: {error}"
        return Published(fp32, {**lost, **given_up}, reason, "too_small")
    raised = zip(units, outcome.state, strict=True)
    lost = {u.name: UNPROVEN for u, rung in raised if rung == u.top and u.top}
    last = outcome.steps[-1].judgement if outcome.steps else whole.judgement
    kept = plan_of(units, outcome.state, greedy=plan.greedy)
    return Published(kept, {**lost, **given_up}, last.reason, outcome.verdict)


def _that_fits(model: Model, plan: PrecisionPlan) -> tuple[PrecisionPlan, dict[str, str]]:
    """`plan` with fp32 for what cannot hold the model's weights, and why."""
    check_plan(plan.layers, model)
    tables = {
        name: f"given up: {plan.table(name)} cannot hold these weights"
        for name in tables_of(model)
        if not table_fits(model, name, plan.table(name))
    }
    layers = {
        name: f"given up: {describe(plan.layer(name))} cannot hold these weights"
        for name in quantisable(model)
        if not layer_fits(model, name, plan.layer(name))
    }
    fitting = replace(
        plan,
        tables={**plan.tables, **dict.fromkeys(tables, RowFormat.FP32)},
        layers=replace(plan.layers, layers={**plan.layers.layers, **dict.fromkeys(layers, FP32)}),
    )
    return fitting, {**tables, **layers}


def _units(model: Model, plan: PrecisionPlan) -> tuple[Unit, ...]:
    """Each table and layer as the plan has it, or in fp32, which costs its bytes."""
    fp32 = RowFormat.FP32
    tables = [
        Unit("table", name, _ladder(plan.table(name), Rung(fp32, table_bytes(model, name, fp32))))
        for name in tables_of(model)
    ]
    layers = [
        Unit("layer", name, _ladder(plan.layer(name), Rung(FP32, layer_bytes(model, name, FP32))))
        for name in quantisable(model)
    ]
    return (*tables, *layers)


def _ladder(given: Precision, fp32: Rung) -> tuple[Rung, ...]:
    return (fp32,) if given == fp32.precision else (Rung(given, 0), fp32)
