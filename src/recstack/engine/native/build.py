"""From a model to a native program: fold, place, lower, lay out the workspace."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from recstack import _native
from recstack.engine.config import EngineConfig, choose_isa
from recstack.engine.memory import BuildCost
from recstack.engine.native import (
    lower_attention,
    lower_dense,
    lower_embedding,
    lower_sequence,
    lower_tensor,
)
from recstack.engine.native.formats import LayerInUse, layers_in_use, saved_bytes
from recstack.engine.native.hoist import hoist_user_parts
from recstack.engine.native.layers import Layers
from recstack.engine.native.lower import lower
from recstack.engine.native.passes import optimise
from recstack.engine.native.placement import place_concatenations, place_inputs, place_outputs
from recstack.engine.native.plan import Buffer, Place, Plan
from recstack.engine.native.turns import mark_turns
from recstack.engine.precision import FP32, DenseFormat, LayerPlan, check_plan
from recstack.engine.reference.arrays import in_float32_range
from recstack.engine.reference.registry import OPS
from recstack.engine.tables import table_names
from recstack.errors import ConfigError
from recstack.machine import Caches, caches_here, load_peaks
from recstack.model import Model
from recstack.model.ops import EmbeddingBag, FeatureOp

# Imported for what they register.
LOWERINGS = (lower_attention, lower_dense, lower_embedding, lower_sequence, lower_tensor)
MIN_TILE_ROWS, MAX_TILE_ROWS = 16, 256
FP16_LARGEST = 65504.0


@np.errstate(all="ignore")  # a model's numbers may overflow, as they would in a run
def make_plan(
    model: Model, *, hoist: bool = True, precision: DenseFormat | LayerPlan = "fp32"
) -> Plan:
    """The steps that compute `model`, with every value's place; `hoist` and the precision of dense
    layers as in EngineConfig.

    Raises ModelError for a normalisation whose scale is not finite, ConfigError for a precision
    plan that does not fit.
    """
    layers = Layers(model, check_plan(precision, model))
    model = optimise(model, layers.fusable)
    if hoist:
        model = hoist_user_parts(model)
    precisions = layers.precisions_of(model)
    plan = Plan(model, fold_constants(model), hoist, precisions, layers.of_ops(model))
    output = Place("output", 0, model.output_width, Buffer("output", model.output_width))
    place_inputs(plan)
    place_outputs(plan, output)
    place_concatenations(plan)
    lower_embedding.lower_bags(plan, load_peaks())
    for op in model.ops:
        if op.output not in plan.constants and not isinstance(op, EmbeddingBag):
            lower(plan, op)
    check_fp16_range(plan)
    column = 0
    for name in model.outputs:
        n = model.values[name].elements
        target = output.part(column)
        if not lower_tensor.same_place(plan.places.get(name), target):
            x = plan.operand(name, "item", in_place=True)
            lower_tensor.emit_copy(plan, "item", x, target, (n,), (1,), (1,))
        column += n
    mark_turns(plan)
    return plan


def check_fp16_range(plan: Plan) -> None:
    """Raise ConfigError for a matrix that is to be fp16 and has a number past its largest."""
    for step in plan.steps:
        if plan.precisions.get(step.value, FP32).format != "fp16":
            continue
        for weight in step.weights:
            largest = float(np.abs(weight).max(initial=0)) if weight.ndim == 2 else 0.0
            if FP16_LARGEST < largest < np.inf:
                layer = ", ".join(plan.layers[step.value])
                raise ConfigError(
                    f"expected weights up to {FP16_LARGEST:g} for fp16, got {largest:g}"
                    f" - at layer {layer!r}"
                )


def fold_constants(model: Model) -> dict[str, NDArray[np.float32]]:
    """The values that are the same for every entry, computed once by the reference."""
    folded: dict[str, NDArray[np.float64]] = {}
    for op in model.ops:
        if model.values[op.output].scope == "const" and not isinstance(op, FeatureOp):
            made = OPS[type(op)](op, [folded[n] for n in op.inputs], model.weights)
            folded[op.output] = in_float32_range(made)
    return {n: np.ascontiguousarray(v[0], dtype=np.float32) for n, v in folded.items()}


def make_layout(model: Model, finite: bool = True) -> _native.InputLayout:
    """The model's inputs for the native side; `finite`: dense ones that are not are refused."""
    return _native.InputLayout(
        user_features=[i.scope == "user" for i in model.sparse],
        fixed_lengths=[i.length if i.fixed else 0 for i in model.sparse],
        dense_columns=sum(i.width for i in model.dense if i.scope == "item"),
        user_dense_columns=sum(i.width for i in model.dense if i.scope == "user"),
        outputs=model.output_width,
        weighted=any(i.weighted for i in model.sparse),
        finite=finite,
    )


def make_program(
    model: Model, config: EngineConfig, finite: bool = True
) -> tuple[_native.Program, BuildCost, tuple[LayerInUse, ...]]:
    """A native program for `model`, what it took, and what its dense layers run in
    (`layers_in_use`); tables are the model's own arrays. `finite`: as in `make_layout`."""
    began = time.perf_counter()
    plan = make_plan(model, hoist=config.hoist, precision=config.precision)
    item, user = plan.workspace_floats("item"), plan.workspace_floats("user")
    tile_rows = config.tile_rows or choose_tile_rows(item, caches_here())
    layout, steps = make_layout(model, finite), [step.to_native() for step in plan.steps]
    planned = time.perf_counter()
    program = _native.Program(
        isa=choose_isa(config.isa),
        layout=layout,
        tile_rows=tile_rows,
        item_floats=item,
        user_floats=user,
        steps=steps,
    )
    packed = {w for op in plan.model.ops for w in op.weights()} - set(table_names(plan.model))
    layers = layers_in_use(plan)
    cost = BuildCost(
        plan_ms=1e3 * (planned - began),
        packing_ms=1e3 * (time.perf_counter() - planned),
        packed_weight_bytes=sum(plan.model.weights[w].nbytes for w in packed) - saved_bytes(plan),
        workspace_bytes=4 * tile_rows * (item + user),
    )
    return program, cost, layers


def choose_tile_rows(item_floats: int, caches: Caches) -> int:
    """Rows per tile: as many as one and a half times L2 holds workspaces of, within limits.

    A table's bags want long tiles, which touch few pages at a time; what spills from L2 is
    written and read in order.
    """
    rows = 3 * caches.l2_bytes // (8 * max(item_floats, 1))
    return min(max(rows, MIN_TILE_ROWS), MAX_TILE_ROWS)
