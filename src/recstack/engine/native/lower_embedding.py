"""Steps of the ops that read sparse features: all bags of one width and scope in one step.

But bags that an attention unit takes group by group (unit_sum.py) are in steps of their own, which
wait until the unit wants them. Each step then prefetches the first rows
of the one after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from recstack.engine.native.lower import lowers
from recstack.engine.native.plan import Plan
from recstack.engine.native.unit_sum import KEYS_AT_ONCE, UnitSum
from recstack.machine import Hint, Peaks
from recstack.machine.peaks import usual_prefetch
from recstack.model import feature_tables
from recstack.model.ops import EmbeddingBag, SequenceMask
from recstack.rows import RowFormat

POOLINGS = {"sum": 0, "mean": 1, "weighted": 2, "none": 3}
TABLES_AHEAD = 32
HINTS: dict[Hint, int] = {"none": 0, "T0": 1, "T1": 2, "NTA": 3}


def lower_bags(plan: Plan, peaks: Peaks | None) -> None:
    """Append one step per scope and width of `plan`'s embedding bags, in the model's order, without
    those that wait (`Plan.waiting`).

    Tables of one step may be stored in different formats.

    peaks: of this machine, which say how rows of each size are best prefetched (of the mean size,
        where formats differ); None, or without lookups: as was best where the kernel was written.
    """
    late = _late_bags(plan)
    groups: dict[tuple[str, int], dict[str, list[EmbeddingBag]]] = {}
    for op in plan.model.ops:
        if isinstance(op, EmbeddingBag):
            width = plan.model.shapes[op.table][1]
            turns = groups.setdefault((plan.scope_of(op.output), width), {"": []})
            turns.setdefault(late.get(op.output, ""), []).append(op)
    for (_, width), turns in groups.items():
        ops = [op for turn in turns.values() for op in turn]
        row_bytes = sum(plan.model.row_bytes(op.table) for op in ops) // len(ops)
        choose = peaks.prefetch if peaks and peaks.prefetches else usual_prefetch
        hint, distance, burst = choose(row_bytes)
        head = (width, HINTS[hint], distance, burst)
        turns = {first: turn for first, turn in turns.items() if turn}
        asked = False
        for (first, turn), after in zip(turns.items(), [*turns.values(), []][1:], strict=True):
            emit = partial(_emit_bags, plan, turn, after[:TABLES_AHEAD], (*head, asked))
            asked = True
            if first:
                plan.waiting[first] = emit
            else:
                emit()


def _late_bags(plan: Plan) -> dict[str, str]:
    """Bag that waits -> the first of those that wait with it."""
    units = (op for op in plan.model.ops if isinstance(op, UnitSum))
    groups = (group for op in units for group in op.groups() if len(op.inputs) - 1 > KEYS_AT_ONCE)
    return {name: group[0] for group in groups for name in group}


def _emit_bags(
    plan: Plan, ops: Sequence[EmbeddingBag], after: Sequence[EmbeddingBag], head: Sequence[int]
) -> None:
    """after: bags of the step to come, whose first rows are prefetched."""
    ints = list(head)
    features = {item.name: (i, item) for i, item in enumerate(plan.model.sparse)}
    tables = []
    for op in (*ops, *after):
        format = plan.model.table_formats[op.table]
        table = plan.model.weights[op.table][op.row_offset :]
        feature, item = features[op.inputs[0]]
        padding = -1 if op.padding_index is None else op.padding_index
        positions = item.length if op.pooling == "none" else 0
        ints += [feature, table.shape[0], padding, POOLINGS[op.pooling], positions, format.code]
        tables.append(table if format is RowFormat.FP32 else table.view(np.uint8))
    places = [plan.result(op.output) for op in ops]
    lowering, plan.lowering = plan.lowering, ops[0].output
    plan.emit("bags", plan.scope_of(ops[0].output), places, ints, weights=tables)
    plan.lowering = lowering


@lowers(SequenceMask)
def sequence_mask(plan: Plan, op: SequenceMask) -> None:
    names = [i.name for i in plan.model.sparse]
    feature = names.index(op.inputs[0])
    padding = -1 if op.padding_index is None else op.padding_index
    limit = {item.name: limit for item, limit in feature_tables(plan.model)}[op.inputs[0]]
    ints = [feature, plan.model.sparse[feature].length, padding, limit]
    plan.emit("mask", plan.scope_of(op.output), [plan.result(op.output)], ints)
