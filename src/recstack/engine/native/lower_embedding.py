"""Steps of the ops that read sparse features: all bags of one width and scope in one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recstack.engine.native.lower import lowers
from recstack.engine.native.plan import Plan
from recstack.machine import Hint, Peaks
from recstack.machine.peaks import Prefetch
from recstack.model.ops import EmbeddingBag, SequenceMask
from recstack.rows import RowFormat

POOLINGS = {"sum": 0, "mean": 1, "weighted": 2, "none": 3}
HINTS: dict[Hint, int] = {"none": 0, "T0": 1, "T1": 2, "NTA": 3}
# Best where the kernel was written (labs/embag/NOTES.md): rows of up to two lines, and wider ones.
UNMEASURED: Prefetch = ("T1", 32, 1)
UNMEASURED_WIDE: Prefetch = ("T1", 16, 128)


def lower_bags(plan: Plan, peaks: Peaks | None) -> None:
    """Append one step per scope and width of `plan`'s embedding bags, in the model's order.

    Tables of one step may be stored in different formats.

    peaks: of this machine, which say how rows of each size are best prefetched (of the mean size,
        where formats differ); None, or without lookups: as was best where the kernel was written.
    """
    groups: dict[tuple[str, int], list[EmbeddingBag]] = {}
    for op in plan.model.ops:
        if isinstance(op, EmbeddingBag):
            width = plan.model.shapes[op.table][1]
            groups.setdefault((plan.scope_of(op.output), width), []).append(op)
    for (_, width), ops in groups.items():
        row_bytes = sum(plan.model.row_bytes(op.table) for op in ops) // len(ops)
        hint, distance, burst = UNMEASURED if row_bytes <= 128 else UNMEASURED_WIDE
        if peaks and peaks.prefetches:
            hint, distance, burst = peaks.prefetch(row_bytes)
        _emit_bags(plan, ops, [width, HINTS[hint], distance, burst])


def _emit_bags(plan: Plan, ops: Sequence[EmbeddingBag], ints: list[int]) -> None:
    features = {item.name: (i, item) for i, item in enumerate(plan.model.sparse)}
    tables = []
    for op in ops:
        format = plan.model.table_formats[op.table]
        table = plan.model.weights[op.table][op.row_offset :]
        feature, item = features[op.inputs[0]]
        padding = -1 if op.padding_index is None else op.padding_index
        positions = item.length if op.pooling == "none" else 0
        ints += [feature, table.shape[0], padding, POOLINGS[op.pooling], positions, format.code]
        tables.append(table if format is RowFormat.FP32 else table.view(np.uint8))
    plan.lowering = ops[0].output
    places = [plan.result(op.output) for op in ops]
    plan.emit("bags", plan.scope_of(ops[0].output), places, ints, weights=tables)


@lowers(SequenceMask)
def sequence_mask(plan: Plan, op: SequenceMask) -> None:
    names = [i.name for i in plan.model.sparse]
    feature = names.index(op.inputs[0])
    padding = -1 if op.padding_index is None else op.padding_index
    ints = [feature, plan.model.sparse[feature].length, padding]
    plan.emit("mask", plan.scope_of(op.output), [plan.result(op.output)], ints)
