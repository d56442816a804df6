"""`quantise`: split the data, find what there is to choose and what it costs, search, prove."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from recstack.data.labelled import LabelledData
from recstack.data.paired import Metric
from recstack.engine import EngineConfig
from recstack.engine.precision import (
    DenseFormat,
    LayerPrecision,
    layer_inputs,
    quantisable,
)
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.precision.plan import PrecisionPlan, tables_of
from recstack.precision.proof import check_labels
from recstack.precision.values import columns_that_stand_out, input_of, values_of
from recstack.rows import RowFormat
from recstack.tune.quantise import costs
from recstack.tune.quantise.journal import Journal
from recstack.tune.quantise.measured import Scored, Variants
from recstack.tune.quantise.search import Outcome, Step, search
from recstack.tune.quantise.units import (
    Rung,
    Unit,
    cost_of,
    describe,
    finest,
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
    least_share: a table or layer that cannot save this share of all cost stays fp32.
    small_rows: search rows, at most, that sensitivities are measured on.
    floor: what the metric itself may not fall below (or above, where lower is better).
    seed: of the split, the resamples and the timed inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    objective: Objective = "latency"
    rows: int = Field(default=64, ge=1)
    tables: tuple[RowFormat, ...] = (RowFormat.FP16, RowFormat.INT8, RowFormat.INT4)
    layers: tuple[DenseFormat, ...] = ("fp16", "bf16", "int8")
    least_share: float = Field(default=0.005, ge=0, lt=1)
    small_rows: int = Field(default=4096, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, slots=True)
class Quantised:
    """What a search found.

    plan: the one to use; all fp32 unless `outcome.verdict` is proven. cost, fp32_cost: of the
    tables and layers, in `unit`, modelled as a sum over them. notes: per table and layer why it has
    its precision.
    """

    plan: PrecisionPlan
    outcome: Outcome
    units: tuple[Unit, ...]
    sensitivity: Mapping[str, float]
    cost: float
    fp32_cost: float
    unit: str
    notes: Mapping[str, str]


def quantise(
    model: Model,
    data: LabelledData,
    metric: Metric,
    budget: Budget,
    config: QuantiseConfig | None = None,
    *,
    engine: EngineConfig | None = None,
    journal: Path | None = None,
    watch: Callable[[str], None] = lambda what: None,
    step: Callable[[Step, tuple[Unit, ...]], None] = lambda step, units: None,
) -> Quantised:
    """The cheapest plan for `model` that is proven to keep `budget` on labelled data.

    Half of the data's groups choose the plan, the other half prove it. journal: a file that keeps
    every measurement, so that a search that was stopped goes on. watch: told what is being done;
    step: of every plan that was tried.

    Raises ConfigError for labels that do not fit the model, for data with fewer than two groups,
    and for a journal of another search.
    """
    config, engine = config or QuantiseConfig(), engine or EngineConfig()
    check_labels(model, data)
    halves = data.halves(config.seed)
    if not all(half.rows for half in halves):
        raise ConfigError(f"expected rows of at least two groups, got {data.rows} rows")
    small = _some(halves[0], config.small_rows, config.seed)
    notes = Journal(journal, _about(model, data, metric, budget, config, engine))
    watch("costs of tables and layers")
    units = _units(model, small, config, notes)
    scored = Scored(
        Variants(model), units, small, halves, metric, budget, notes, engine, config.seed
    )
    watch("plans")
    outcome = search(units, scored, watch=lambda s: step(s, units))
    found = {
        u.name: scored.sensitivity(i, outcome.state[i])
        for i, u in enumerate(units)
        if outcome.state[i] < u.top
    }
    return Quantised(
        plan_of(units, outcome.state),
        outcome,
        units,
        found,
        cost_of(units, outcome.state),
        cost_of(units, finest(units)),
        UNITS[config.objective],
        _notes(units, outcome, scored),
    )


def _some(data: LabelledData, rows: int, seed: int) -> LabelledData:
    """Whole queries drawn at random, in order, of about so many rows."""
    if data.rows <= rows:
        return data
    order = np.random.default_rng(seed).permutation(data.queries)
    sizes = np.diff(data.batch.query_offsets)[order]
    count = max(int(np.searchsorted(np.cumsum(sizes), rows, side="right")), 1)
    return data.take(np.sort(order[:count]))


def _units(
    model: Model, small: LabelledData, config: QuantiseConfig, journal: Journal
) -> tuple[Unit, ...]:
    """Every table and layer with its ladder; those of little cost in fp32 alone."""
    margin = MARGIN[config.objective]
    formats = [RowFormat.FP32, *(f for f in RowFormat if f in config.tables)]
    bags_only = [t for t in tables_of(model) if not _read_by_others(model, t)]
    made = [
        Unit("table", name, _ladder(formats, _table_costs(model, name, formats, config, journal),
                                    margin))
        for name in bags_only
    ]  # fmt: skip
    for name in quantisable(model):
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
        read = input_of(model, name)
        values = values_of(model, [read], small)[read]
        if columns := columns_that_stand_out(values, layer_inputs(model, name)):
            found.insert(-1, LayerPrecision("int8", outliers=columns))
    return found


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
            found[unit.name] = "too little to save"
        elif outcome.verdict != "proven":
            found[unit.name] = "nothing was proven"
        elif rung == 0:
            found[unit.name] = f"alone moves scores by {scored.sensitivity(i, 0):.1e}"
        else:
            coarser = describe(unit.ladder[0].precision)
            found[unit.name] = f"{coarser} would move scores by {scored.sensitivity(i, 0):.1e}"
    return found
