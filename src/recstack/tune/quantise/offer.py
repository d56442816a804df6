"""What is on offer: every table and layer of a model with the precisions that it may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from recstack.batch import Batch
from recstack.data.labelled import LabelledData
from recstack.engine.precision import LayerPrecision, layer_input, layer_inputs, quantisable
from recstack.model import Model
from recstack.precision.calibrate import calibrate
from recstack.precision.plan import tables_of
from recstack.precision.proof import CHUNK_ROWS
from recstack.precision.values import columns_that_stand_out, values_of
from recstack.rows import RowFormat
from recstack.tune.journal import Journal
from recstack.tune.quantise import costs
from recstack.tune.quantise.config import QuantiseConfig
from recstack.tune.quantise.units import Rung, Unit, ladder, worthwhile

MARGIN = {"latency": 0.05, "memory": 0.0}
"""The share by which a rung must be cheaper than a finer one."""


def units_of(
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
