"""What each table and layer costs in each precision: bytes, or time measured alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.data import random_batch
from recstack.engine import Engine, EngineConfig, compile
from recstack.engine.native.build import FP16_LARGEST
from recstack.engine.native.lower_dense8 import runs_in_int8
from recstack.engine.native.step_times import step_times
from recstack.engine.precision import FP32, LayerPlan, LayerPrecision, layer_names, quantisable
from recstack.errors import RowError
from recstack.model import Model
from recstack.model.ops import AttentionPooling
from recstack.model.requantise import Requantised
from recstack.precision.alone import alone
from recstack.precision.plan import PrecisionPlan, apply, tables_of
from recstack.rows import RowFormat
from recstack.types import Executor

ROUNDS = 7
ROUND_S = 0.004
BATCHES = 64  # different ones, lest a large table's rows all lie in cache


def table_fits(model: Model, table: str, row_format: RowFormat) -> bool:
    """Whether the format can hold every row of the table."""
    if row_format == model.table_formats[table]:
        return True
    try:
        for _ in Requantised(model, table, row_format, greedy=False).chunks():
            pass
    except RowError:
        return False
    return True


def layer_fits(model: Model, layer: str, precision: LayerPrecision) -> bool:
    """Whether the format can hold the layer's weights."""
    if precision.format != "fp16":
        return True
    return all(float(np.abs(w).max(initial=0)) <= FP16_LARGEST for w in _matrices(model, layer))


def table_bytes(model: Model, table: str, row_format: RowFormat) -> int:
    """Bytes of a table in a format."""
    rows, dim = model.shapes[table]
    return rows * row_format.row_bytes(dim)


def layer_bytes(model: Model, layer: str, precision: LayerPrecision) -> int:
    """Bytes of a layer's matrices as an engine keeps them; int8 with scales, sums and outliers.

    What has no kernel of the format counts in fp32, and so do the matrices that rows of an
    attention unit fold their own from (decision 018), outliers included.
    """
    op = next(op for op in model.ops if op.output == layer)
    kept = sum(used.packed_bytes for used in _engine(alone(model, [layer]).model, precision).layers)
    int8 = [m for m in _matrices(model, layer) if runs_in_int8(precision, *m.shape)]
    outliers = 0 if isinstance(op, AttentionPooling) else len(precision.outliers)
    return kept + (8 + 4 * outliers) * sum(map(len, int8))


def _matrices(model: Model, layer: str) -> list[NDArray[np.float32]]:
    names = {o for o, n in layer_names(model).items() if n == layer}
    weights = {w for op in model.ops if op.output in names for w in op.weights()}
    return [model.weights[w] for w in sorted(weights) if len(model.shapes[w]) == 2]


def plan_bytes(model: Model, plan: PrecisionPlan) -> int:
    """Bytes of all tables and of the weight matrices of all layers, as the plan has them."""
    tables = sum(table_bytes(model, t, plan.table(t)) for t in tables_of(model))
    return tables + sum(layer_bytes(model, n, plan.layer(n)) for n in quantisable(model))


def plan_ns(
    model: Model, plan: PrecisionPlan, rows: int, seed: int, config: EngineConfig
) -> tuple[float, float]:
    """Time of one query of `rows` rows in fp32 and with the plan, in turns; random inputs."""
    fp32 = compile(model, config.model_copy(update={"precision": "fp32"}))
    batches = [random_batch(model, rows, seed + i) for i in range(4)]
    before, after = race([fp32, compile(*apply(model, plan, config))], batches)
    return before, after


def formats_run(model: Model, layer: str, precision: LayerPrecision) -> set[str]:
    """The formats that an engine computes the layer's products in, asked for this one."""
    ops = [o for o, n in layer_names(model).items() if n == layer]
    found = _engine(alone(model, ops[:1]).model, precision).formats
    return {f for formats in found.values() for f in formats}


def table_ns(
    model: Model, table: str, formats: Sequence[RowFormat], rows: int, seed: int
) -> list[float]:
    """Time of the bags that read the table, alone, for a query of `rows` rows, in each format."""
    ops = [op for op in model.ops if op.kind == "embedding_bag" and table in op.weights()]
    models = [model.with_table_formats({table: f}) for f in formats]
    totals = [0.0] * len(formats)
    for op in ops:
        parts = [alone(m, [op.output]).model for m in models]
        count = rows if model.values[op.output].scope == "item" else 1
        batches = [random_batch(parts[0], count, seed + i) for i in range(BATCHES)]
        found = race_steps([_engine(part, FP32) for part in parts], batches)
        totals = [t + ns for t, ns in zip(totals, found, strict=True)]
    return totals


def layer_ns(
    model: Model, layer: str, precisions: Sequence[LayerPrecision], rows: int, seed: int
) -> list[float]:
    """Time of a layer's ops, alone, for a query of `rows` rows, in each precision."""
    ops = [o for o, n in layer_names(model).items() if n == layer]
    part = alone(model, ops[:1]).model
    count = rows if model.values[ops[0]].scope == "item" else 1
    batches = [random_batch(part, count, seed + i) for i in range(BATCHES)]
    engines = [_engine(part, p) for p in precisions]
    return [ns * len(ops) for ns in race_steps(engines, batches)]


def _engine(part: Model, precision: LayerPrecision) -> Engine:
    names = set(layer_names(part).values())
    plan = LayerPlan(FP32, dict.fromkeys(names, precision))
    return Engine(part, EngineConfig(precision=plan))


def race_steps(engines: Sequence[Engine], batches: Sequence[Batch]) -> list[float]:
    """Nanoseconds of each engine's steps per batch, without the call: as `race`."""
    times: list[list[float]] = [[] for _ in engines]
    for _ in range(ROUNDS):
        for engine, taken in zip(engines, times, strict=True):
            taken.append(sum(t.ns for t in step_times(engine, batches, len(batches))))
    return [median(taken) for taken in times]


def race(engines: Sequence[Executor], batches: Sequence[Batch]) -> list[float]:
    """Nanoseconds per batch of each engine: the median over rounds in which they take turns."""
    times: list[list[float]] = [[] for _ in engines]
    for number in range(ROUNDS + 1):
        for engine, taken in zip(engines, times, strict=True):
            began, runs = time.perf_counter_ns(), 0
            while runs < len(batches) or time.perf_counter_ns() - began < ROUND_S * 1e9:
                engine.run(batches[runs % len(batches)])
                runs += 1
            if number:  # the first round brings weights and workspace into cache
                taken.append((time.perf_counter_ns() - began) / runs)
    return [median(taken) for taken in times]
