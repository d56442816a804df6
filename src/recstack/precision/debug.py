"""The numeric debugger: a quantised plan beside fp32, op by op, on the same rows.

For every op its error against fp32 as it stands in the model, errors from before it included, and
for every op with a precision of its own the error that it adds by itself, given fp32 inputs.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.data.labelled import LabelledData
from recstack.engine import compile
from recstack.engine.precision import FP32, LayerPrecision, layer_input, layer_inputs, layer_names
from recstack.errors import ConfigError
from recstack.model import Model
from recstack.precision.alone import alone
from recstack.precision.inside import Values
from recstack.precision.plan import PrecisionPlan, apply, describe_layer
from recstack.precision.values import columns_that_stand_out, run_alone, values_of
from recstack.rows import RowFormat

BINS = 48
MOST_DB = 200.0  # of no error at all
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Error:
    """How far values are from their reference.

    sqnr_db: 10 log10 of the power of the reference over that of the error; at most 200. largest:
    the largest absolute error.
    """

    sqnr_db: float
    largest: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts of values in equal bins from low to high, of the reference and of the quantised."""

    low: float
    high: float
    reference: tuple[int, ...]
    quantised: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpReport:
    """One op.

    unit, precision: its layer or table as a plan names it, and the precision of that, "int8
        -> fp32" where it runs in another, for want of a kernel; "" where it has none to choose.
    total: with the errors of all ops before it. own: of its own precision alone, fp32 inputs.
    saturation: share of its inputs outside a static range; None where the range is dynamic.
    columns: input columns that stand out from the others: outliers, where they are not yet.
    """

    name: str
    kind: str
    scope: str
    unit: str
    precision: str
    total: Error
    own: Error | None
    saturation: float | None
    columns: tuple[int, ...]
    values: Histogram

    def to_record(self) -> dict[str, Any]:
        """As a record of a result file."""
        return {"record": "op_error", "origin": "measured", **asdict(self)}


def debug(model: Model, plan: PrecisionPlan, data: LabelledData) -> list[OpReport]:
    """Run `data` through `model` in fp32 and with the plan; a report per op, the worst first.

    Worst is the lowest own SQNR; ops without a precision follow, by their total. Raises ConfigError
    for a plan that does not fit the model and for data without rows.
    """
    quantised, config = apply(model, plan)
    if not data.rows:
        raise ConfigError("expected data with rows, got none")
    ops = [op for op in model.ops if model.values[op.output].scope != "const"]
    reads = {layer_input(model, name) for name in layer_names(model)}
    names = list(dict.fromkeys([op.output for op in ops] + sorted(reads)))
    reference = values_of(model, names, data)
    found = values_of(quantised, names, data, config)
    layers, runs = layer_names(model), compile(quantised, config).formats
    reports = []
    for op in ops:
        name = op.output
        before, after = reference[name], found[name]
        total, own = error(before, after), None
        unit, label, saturation = "", "", None
        columns: tuple[int, ...] = ()
        if op.kind == "embedding_bag":
            unit = op.weights()[0]
            row_format = plan.table(unit)
            label = str(row_format)
            own = total if row_format != RowFormat.FP32 else None
        elif name in layers:
            unit = layers[name]
            precision = plan.layer(unit)
            used = runs.get(unit, (precision.format,))
            label = describe_layer(precision)
            if precision.format not in used:
                label, precision = f"{label} -> {', '.join(used)}", FP32
            saturation, columns = _inputs(model, name, precision, reference)
            own = None if precision == FP32 else _own(model, name, precision, reference)
        reports.append(
            OpReport(
                name, op.kind, model.values[name].scope, unit, label, total, own, saturation,
                columns, histogram(before, after),
            )
        )  # fmt: skip
    return sorted(reports, key=_rank)


def error(reference: Floats, quantised: Floats) -> Error:
    """How far `quantised` is from `reference`, arrays of one shape."""
    with np.errstate(invalid="ignore"):
        off = quantised.astype(np.float64) - reference
    power, noise = float(np.square(reference, dtype=np.float64).sum()), float(np.square(off).sum())
    largest = float(np.abs(off).max(initial=0.0))
    if not np.isfinite(noise):
        return Error(-MOST_DB, float(np.finfo(np.float32).max))
    if noise == 0:
        return Error(MOST_DB, 0.0)
    sqnr = 10 * np.log10(power / noise) if power else -MOST_DB
    return Error(float(np.clip(sqnr, -MOST_DB, MOST_DB)), largest)


def histogram(reference: Floats, quantised: Floats) -> Histogram:
    """Both arrays in the same bins; what is not finite is left out."""
    finite = [v[np.isfinite(v)].astype(np.float64) for v in (reference, quantised)]
    every = np.concatenate(finite) if any(v.size for v in finite) else np.zeros(1)
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - 0.5, high + 0.5
    counts = [np.histogram(v, BINS, (low, high))[0] for v in finite]
    return Histogram(low, high, *(tuple(int(n) for n in c) for c in counts))


def _own(model: Model, name: str, precision: LayerPrecision, values: Values) -> Error:
    part = alone(model, [name])
    return error(run_alone(part, values, FP32), run_alone(part, values, precision))


def _inputs(
    model: Model, name: str, precision: LayerPrecision, values: Values
) -> tuple[float | None, tuple[int, ...]]:
    """Share of inputs outside the static range, and the columns that stand out."""
    found, width = values[layer_input(model, name)], layer_inputs(model, name)
    kept = np.setdiff1d(np.arange(width), precision.outliers)
    rows = found.reshape(-1, width)[:, kept]
    columns = tuple(int(kept[c]) for c in columns_that_stand_out(rows, len(kept)))
    if precision.activations is None:
        return None, columns
    low, high = min(precision.activations.low, 0.0), max(precision.activations.high, 0.0)
    return float(np.mean((rows < low) | (rows > high))), columns


def _rank(report: OpReport) -> tuple[bool, float]:
    worst = report.total if report.own is None else report.own
    return report.own is None, worst.sqnr_db
