"""Ops that nothing reads, and dense columns that nothing reads."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph


def remove_dead(graph: Graph) -> None:
    """Remove ops whose values nothing reads."""
    alive = set(graph.outputs)
    for op in reversed(graph.ops):
        if op.output in alive:
            alive.update(op.inputs)
    graph.keep(alive)


def trim_dense(graph: Graph) -> None:
    """Of an argument that holds indices too, keep only the columns that are read as numbers."""
    for name in graph.inputs.mixed():
        readers = [op for op in graph.ops if name in op.inputs]
        slices = [op for op in readers if isinstance(op, ops.Slice)]
        if not readers or len(slices) < len(readers) or name in graph.outputs:
            continue
        ranges = _union([(s.start, s.stop) for s in slices])
        graph.inputs.keep_columns(name, tuple(edge for r in ranges for edge in r))
        graph.shapes[name] = (sum(stop - start for start, stop in ranges),)
        for op in slices:
            shift = _place(ranges, op.start) - op.start
            moved = {"start": op.start + shift, "stop": op.stop + shift}
            graph.replace(op, op.model_copy(update=moved))


def _union(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, stop in sorted(ranges):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(out[-1][1], stop))
        else:
            out.append((start, stop))
    return out


def _place(ranges: list[tuple[int, int]], column: int) -> int:
    """Where a column stands once only `ranges` are left."""
    before = 0
    for start, stop in ranges:
        if start <= column < stop:
            return before + column - start
        before += stop - start
    raise AssertionError(column)
