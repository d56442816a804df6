"""Models with opaque ops: native stages, with torch running what lies between them.

    native stage 0  ->  opaque ops  ->  native stage 1  -> ...

Every native stage is a model of its own whose extra dense inputs are the values that earlier
stages made, one entry per row.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch, DenseInput, Input, SparseInput, feature_lengths, pack_lengths
from recstack.engine.config import EngineConfig
from recstack.engine.memory import EngineMemory, engine_memory
from recstack.engine.native import Engine
from recstack.engine.native.formats import LayerInUse
from recstack.engine.precision import DenseFormat, LayerPrecision, check_plan, part_of_plan
from recstack.engine.reference.checks import check_batch
from recstack.engine.tables import place_tables
from recstack.model import Model, ModelDescription, build
from recstack.model.ops import AnyOp, FeatureOp, Op, Opaque, Reshape
from recstack.types import Scores

Array = NDArray[np.float32]


class OpaqueWarning(UserWarning):
    """Part of a model runs in torch."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A native part: reads `inputs` of the whole model and values `imported`, makes `exported`."""

    engine: Engine
    inputs: tuple[Input, ...]
    imported: tuple[str, ...]
    exported: tuple[str, ...]


class HybridEngine:
    """Runs a model with opaque ops; same contract as `Engine`, slower where torch takes part."""

    def __init__(self, model: Model, config: EngineConfig) -> None:
        self.model = model
        self.config = config
        began = time.perf_counter()
        self.placed, self._tables = place_tables(model, config.table_memory)
        moved = self._tables.kind == "huge"
        self._tables_ms = 1e3 * (time.perf_counter() - began) if moved else 0.0
        self.parts = _partition(self.placed, config)
        from recstack.model.importing.opaque import check_opaque

        for op in model.ops:
            if isinstance(op, Opaque):
                check_opaque(op)
        targets = sorted({op.target for op in model.ops if isinstance(op, Opaque)})
        warnings.warn(
            f"torch runs {', '.join(targets)} of {model.name!r}: recstack has no kernel for it",
            OpaqueWarning,
            stacklevel=3,
        )

    @property
    def memory(self) -> EngineMemory:
        """What the native stages hold now, and what building them took; torch's part left out."""
        costs = [part.engine.build_cost for part in self.parts if isinstance(part, Stage)]
        return engine_memory(self.placed, self._tables, self._tables_ms, costs)

    @property
    def layers(self) -> tuple[LayerInUse, ...]:
        """`Engine.layers` of the native stages."""
        stages = [part for part in self.parts if isinstance(part, Stage)]
        return tuple(layer for stage in stages for layer in stage.engine.layers)

    @property
    def formats(self) -> dict[str, tuple[DenseFormat, ...]]:
        """`Engine.formats` of the native stages."""
        return {layer.name: layer.formats for layer in self.layers}

    def run(self, batch: Batch, out: Scores | None = None) -> Scores:
        """Scores of `batch`, (rows, outputs) float32; raises as `Engine.run` does."""
        from recstack.model.importing.opaque import run_opaque

        check_batch(self.model, batch)
        values: dict[str, Array] = {}
        for part in self.parts:
            if isinstance(part, Stage):
                _run_stage(self.model, part, batch, values)
            else:
                inputs = [values[name] for name in part.inputs]
                made = run_opaque(part, inputs, self.model.weights, batch.rows)
                values[part.output] = np.asarray(made, np.float32)
        columns = [_flat(self.model, values, name, batch) for name in self.model.outputs]
        return np.concatenate(columns, axis=1, out=out)


def _flat(model: Model, values: dict[str, Array], name: str, batch: Batch) -> Array:
    return values[name].reshape(batch.rows, model.values[name].elements)


def _run_stage(model: Model, stage: Stage, batch: Batch, values: dict[str, Array]) -> None:
    scores = stage.engine.run(_stage_batch(model, stage, batch, values))
    column = 0
    for name in stage.exported:
        value = model.values[name]
        part = scores[:, column : column + value.elements]
        values[name] = np.ascontiguousarray(part).reshape(batch.rows, *value.shape)
        column += value.elements


def _stage_batch(model: Model, stage: Stage, batch: Batch, values: dict[str, Array]) -> Batch:
    """What the stage reads of `batch`, with the imported values behind its dense columns."""
    wanted = {i.name for i in stage.inputs}
    dense: dict[str, list[Array]] = {
        "item": [np.zeros((batch.rows, 0), np.float32)],
        "user": [np.zeros((batch.queries, 0), np.float32)],
    }
    columns = {"item": 0, "user": 0}
    for item in model.dense:
        source = batch.dense if item.scope == "item" else batch.user_dense
        at = columns[item.scope]
        columns[item.scope] += item.width
        if item.name in wanted:
            dense[item.scope].append(source[:, at : at + item.width])
    dense["item"] += [_flat(model, values, name, batch) for name in stage.imported]
    lookups = np.cumsum([0] + [int(n.sum()) for n in feature_lengths(model.inputs, batch)])
    kept = [i for i, item in enumerate(model.sparse) if item.name in wanted]
    lengths = [n for i, n in enumerate(feature_lengths(model.inputs, batch)) if i in kept]
    spans = [slice(lookups[i], lookups[i + 1]) for i in kept]
    return batch.replace(
        dense=np.concatenate(dense["item"], axis=1),
        user_dense=np.concatenate(dense["user"], axis=1),
        values=np.concatenate([batch.values[:0], *(batch.values[s] for s in spans)]),
        lengths=pack_lengths(stage.inputs, lengths),
        weights=None
        if batch.weights is None
        else np.concatenate([batch.weights[:0], *(batch.weights[s] for s in spans)]),
    )


def _partition(model: Model, config: EngineConfig) -> tuple[Stage | Opaque, ...]:
    """Native stages (even) and opaque ops (odd) in the order in which they can run."""
    stage_of: dict[str, int] = {}
    for op in model.ops:
        odd = isinstance(op, Opaque)
        stages = [] if isinstance(op, FeatureOp) else [stage_of.get(name, 0) for name in op.inputs]
        stage_of[op.output] = max([s + (s % 2 != odd) for s in stages], default=int(odd))
    last = max(stage_of.values())
    read_later = dict.fromkeys(stage_of, -1)
    for op in model.ops:
        for name in op.inputs:
            if name in read_later:
                read_later[name] = max(read_later[name], stage_of[op.output])
    read_later.update(dict.fromkeys(model.outputs, last + 1))
    dense_for_torch = {i.name for i in model.dense} & {
        name for op in model.ops if isinstance(op, Opaque) for name in op.inputs
    }
    dense_for_torch |= {i.name for i in model.dense} & set(model.outputs)
    chosen = check_plan(config.precision, model)
    parts: list[Stage | Opaque] = []
    for s in range(last + 1):
        ops = [op for op in model.ops if stage_of[op.output] == s]
        if s % 2:
            parts.extend(op for op in ops if isinstance(op, Opaque))
            continue
        exported = [op.output for op in ops if read_later[op.output] > s]
        exported += sorted(dense_for_torch) if s == 0 else []
        if exported:
            parts.append(_stage(model, config, chosen, ops, exported))
    return tuple(parts)


def _stage(
    model: Model,
    config: EngineConfig,
    chosen: Mapping[str, LayerPrecision],
    ops: Sequence[Op],
    exported: Sequence[str],
) -> Stage:
    made = {op.output for op in ops}
    read = [name for op in ops for name in op.inputs] + list(exported)
    inputs = tuple(i for i in model.inputs if i.name in read)
    own = {i.name for i in inputs}
    imported = tuple(dict.fromkeys(n for n in read if n not in made and n not in own))
    flat = [DenseInput(name=f"{n}.flat", width=model.values[n].elements) for n in imported]
    shaped: list[AnyOp] = [
        Reshape(output=n, inputs=(f"{n}.flat",), shape_to=model.values[n].shape) for n in imported
    ]
    dense = [i for i in inputs if isinstance(i, DenseInput)]
    sparse = [i for i in inputs if isinstance(i, SparseInput)]
    description = ModelDescription(
        name=model.name,
        inputs=(*dense, *flat, *sparse),
        ops=(*shaped, *ops),
        outputs=tuple(exported),
    ).with_tables(model.description.tables)
    part = build(description, model.weights)
    precision = part_of_plan(chosen, model, part)
    engine = Engine(part, config.model_copy(update={"precision": precision}), finite=False)
    return Stage(engine, description.inputs, imported, tuple(exported))
