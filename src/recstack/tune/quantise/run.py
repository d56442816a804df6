"""`quantise`: split the data, find what there is to choose and what it costs, search, prove."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recstack.batch import Batch
from recstack.data.labelled import LabelledData
from recstack.data.paired import Metric
from recstack.engine import EngineConfig
from recstack.engine.precision import (
    DenseFormat,
    LayerPrecision,
    layer_input,
    layer_inputs,
    quantisable,
)
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.precision.calibrate import calibrate
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import CHUNK_ROWS, check_labels
from recstack.precision.values import columns_that_stand_out, values_of
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise import costs
from recstack.tune.quantise.measured import Scored, Variants
from recstack.tune.quantise.search import Outcome, Step, search
from recstack.tune.quantise.units import (
    Rung,
    Unit,
    describe,
    ladder,
    plan_of,
    worthwhile,
)

Objective = Literal["latency", "memory"]
MARGIN: dict[Objective, float] = {"latency": 0.05, "memory": 0.0}
UNITS: dict[Objective, str] = {"latency": "ns", "memory": "bytes"}


class QuantiseConfig(BaseModel):
    """How to search.

    objective: what to save: time of a query of `rows` rows, or bytes.
    tables, layers: formats to choose from beside fp32.
    activations: int8 layers find the range of their inputs for every row, or have one from the
        search rows.
    least_share: the tables and layers that save least stay fp32, as many as together save less
        than this share of all cost.
    small_rows: search rows, at most, that sensitivities are measured on.
    seed: of the split, the resamples and the timed inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: Objective = "latency"
    rows: int = Field(default=64, ge=1)
    tables: tuple[RowFormat, ...] = (RowFormat.FP16, RowFormat.INT8, RowFormat.INT4)
    layers: tuple[DenseFormat, ...] = ("fp16", "bf16", "int8")
    activations: Literal["dynamic", "static"] = "dynamic"
    least_share: float = Field(default=0.005, ge=0, lt=1)
    small_rows: int = Field(default=4096, ge=1)
    seed: int = Field(default=0, ge=0)


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

    def to_record(self, model: str, metric: str, budget: Budget) -> dict[str, Any]:
        """As a record of a result file."""
        tried = [
            {"rows": s.rows, "cost": s.cost, "outcome": s.judgement.outcome,
             "harm": asdict(s.judgement.worst.harm), "reason": s.judgement.reason}
            for s in self.outcome.steps
        ]  # fmt: skip
        chosen = [
            {"name": u.name, "kind": u.kind, "precision": describe(u.ladder[rung].precision),
             "cost": u.ladder[rung].cost, "fp32_cost": u.ladder[-1].cost,
             "note": self.notes.get(u.name, "")}
            for u, rung in zip(self.units, self.outcome.state, strict=True)
        ]  # fmt: skip
        return {
            "record": "precision", "origin": "measured", "model": model, "metric": metric,
            "budget": str(budget), "limit": budget.limit, "relative": budget.relative,
            "verdict": self.outcome.verdict, "reason": self.reason, "objective": self.objective,
            "unit": UNITS[self.objective], "tried": tried, "chosen": chosen,
            "rows_needed": self.outcome.rows_needed,
        }  # fmt: skip


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
    it, for data with fewer than two groups, and for a journal of another search.
    """
    config, engine = config or QuantiseConfig(), engine or EngineConfig()
    check_labels(model, data)
    if coarse := [(n, f) for n, f in model.table_formats.items() if f != RowFormat.FP32]:
        raise ConfigError(
            f"expected tables in fp32, got {coarse[0][0]!r} in {coarse[0][1]}: "
            "quantise the original model"
        )
    halves = data.halves(config.seed)
    if not all(half.rows for half in halves):
        raise ConfigError(f"expected rows of at least two groups, got {data.rows} rows")
    small = _some(halves[0], config.small_rows, config.seed)
    notes = Journal(journal, _about(model, data, metric, budget, config, engine))
    units = _units(model, small, config, notes, watch)
    scored = Scored(
        Variants(model), units, small, halves, metric, budget, notes, engine, config.seed
    )
    outcome = search(units, scored, watch=step)
    return Quantised(
        plan_of(units, outcome.state), outcome, units, _notes(units, outcome, scored),
        config.objective,
    )  # fmt: skip


def _some(data: LabelledData, rows: int, seed: int) -> LabelledData:
    """Whole queries drawn at random, in order, of about so many rows."""
    if data.rows <= rows:
        return data
    order = np.random.default_rng(seed).permutation(data.queries)
    sizes = np.diff(data.batch.query_offsets)[order]
    count = max(int(np.searchsorted(np.cumsum(sizes), rows, side="right")), 1)
    return data.take(np.sort(order[:count]))


def _units(
    model: Model, small: LabelledData, config: QuantiseConfig, journal: Journal,
    watch: Callable[[str, int, int], None],
) -> tuple[Unit, ...]:  # fmt: skip
    """Every table and layer with its ladder; those of little cost in fp32 alone."""
    margin = MARGIN[config.objective]
    formats = [RowFormat.FP32, *(f for f in RowFormat if f in config.tables)]
    tables = [t for t in tables_of(model) if not _read_by_others(model, t)]
    layers = quantisable(model)
    made: list[Unit] = []
    for name in tables:
        watch(name, len(made), len(tables) + len(layers))
        fitting = [f for f in formats if costs.table_fits(model, name, f)]
        found = _table_costs(model, name, fitting, config, journal)
        made.append(Unit("table", name, _ladder(fitting, found, margin)))
    for name in layers:
        watch(name, len(made), len(tables) + len(layers))
        precisions = _precisions(model, name, small, config)
        found = _layer_costs(model, name, precisions, config, journal)
        made.append(Unit("layer", name, _ladder(precisions, found, margin)))
    return worthwhile(made, config.least_share)


def _ladder(finest_first: list[Any], found: list[float], margin: float) -> tuple[Rung, ...]:
    return ladder([Rung(p, c) for p, c in zip(finest_first, found, strict=True)], margin)


def _precisions(
    model: Model, name: str, small: LabelledData, config: QuantiseConfig
) -> list[LayerPrecision]:
    """A layer's precisions, the finest first; int8 with the columns that stand out in fp32."""
    formats = [f for f in ("fp16", "bf16", "int8") if f in config.layers]
    found = [LayerPrecision("fp32"), *(LayerPrecision(f) for f in formats)]
    if "int8" in config.layers:
        read = layer_input(model, name)
        values = values_of(model, [read], small)[read]
        if columns := columns_that_stand_out(values, layer_inputs(model, name)):
            found.insert(-1, LayerPrecision("int8", outliers=columns))
    if config.activations == "static":
        found = [calibrate(model, {name: p}, _batches(small))[name] for p in found]
    return [
        p for p in found
        if costs.layer_fits(model, name, p) and p.format in costs.formats_run(model, name, p)
    ]  # fmt: skip


def _batches(data: LabelledData) -> Iterator[Batch]:
    return (part.batch for part in data.chunks(CHUNK_ROWS))


def _table_costs(
    model: Model, name: str, formats: list[RowFormat], config: QuantiseConfig, journal: Journal
) -> list[float]:
    if config.objective == "memory":
        return [float(costs.table_bytes(model, name, f)) for f in formats]
    return journal.answer(
        f"ns table {name}", list[float],
        lambda: costs.table_ns(model, name, formats, config.rows, config.seed),
    )  # fmt: skip


def _layer_costs(
    model: Model, name: str, precisions: list[LayerPrecision], config: QuantiseConfig,
    journal: Journal,
) -> list[float]:  # fmt: skip
    if config.objective == "memory":
        return [float(costs.layer_bytes(model, name, p)) for p in precisions]
    return journal.answer(
        f"ns layer {name}", list[float],
        lambda: costs.layer_ns(model, name, precisions, config.rows, config.seed),
    )  # fmt: skip


def _read_by_others(model: Model, table: str) -> bool:
    return any(table in op.weights() for op in model.ops if op.kind != "embedding_bag")


def _about(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig,
) -> dict[str, Any]:  # fmt: skip
    """What the answers of a search depend on."""
    return {
        "model": _digest_model(model),
        "data": _digest_data(data),
        "metric": metric.name,
        "budget": str(budget),
        "floor": budget.floor,
        "config": config.model_dump(mode="json"),
        "engine": engine.model_dump(mode="json"),
    }


def _digest_model(model: Model) -> str:
    """A digest of the description and of a part of every weight."""
    h = hashlib.blake2b(model.description.model_dump_json().encode(), digest_size=12)
    for name in sorted(model.weights):
        array = model.weights[name]
        flat = array.reshape(-1)
        h.update(f"{name} {array.shape}".encode())
        h.update(np.ascontiguousarray(flat[:: max(flat.size // 4096, 1)]).tobytes())
    return h.hexdigest()


def _digest_data(data: LabelledData) -> str:
    h = hashlib.blake2b(digest_size=12)
    arrays = {**asdict(data.batch), "labels": data.labels, "groups": data.groups}
    for name, array in arrays.items():
        if array is not None:
            h.update(f"{name} {array.shape}".encode())
            h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()


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
