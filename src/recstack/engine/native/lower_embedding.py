"""Steps of the ops that read sparse features: all bags of one width and scope in one step."""

from __future__ import annotations

from collections.abc import Sequence

from recstack.engine.native.lower import lowers
from recstack.engine.native.plan import Plan
from recstack.machine import Hint, Peaks
from recstack.model.ops import EmbeddingBag, SequenceMask

POOLINGS = {"sum": 0, "mean": 1, "weighted": 2, "none": 3}
MAX_DISTANCE = 128
HINTS: dict[Hint, int] = {"none": 0, "T0": 1, "T1": 2, "NTA": 3}


def lower_bags(plan: Plan, peaks: Peaks | None) -> None:
    """Append one step per scope and width of `plan`'s embedding bags, in the model's order.

    peaks: of this machine, which say how rows of each width are best prefetched; None, or without
        lookups: as was best where the kernel was written.
    """
    groups: dict[tuple[str, int], list[EmbeddingBag]] = {}
    for op in plan.model.ops:
        if isinstance(op, EmbeddingBag):
            width = plan.model.weights[op.table].shape[1]
            groups.setdefault((plan.scope_of(op.output), width), []).append(op)
    for (_, width), ops in groups.items():
        hint, distance = peaks.prefetch(4 * width) if peaks and peaks.gather else ("T1", 32)
        _emit_bags(plan, ops, [width, HINTS[hint], min(distance, MAX_DISTANCE)])


def _emit_bags(plan: Plan, ops: Sequence[EmbeddingBag], ints: list[int]) -> None:
    features = {item.name: (i, item) for i, item in enumerate(plan.model.sparse)}
    tables = []
    for op in ops:
        table = plan.model.weights[op.table][op.row_offset :]
        feature, item = features[op.inputs[0]]
        padding = -1 if op.padding_index is None else op.padding_index
        positions = item.length if op.pooling == "none" else 0
        ints += [feature, table.shape[0], padding, POOLINGS[op.pooling], positions]
        tables.append(table)
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
