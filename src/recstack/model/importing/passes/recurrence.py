"""Loops over GRU cells become a GRU."""

from __future__ import annotations

import numpy as np

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.importing.passes.tidy import source, step


def find_loops(graph: Graph) -> None:
    """A chain of GRU cells over all positions of one sequence, from a state of zeros."""
    after = {op.inputs[1]: op for op in graph.ops if isinstance(op, ops.GruCell)}
    for first in list(graph.ops):
        if not isinstance(first, ops.GruCell) or not _zeros(graph, first.inputs[1]):
            continue
        place = step(graph, first.inputs[0])
        if place is None or place[1] != 0:
            continue
        chain = [first]
        while chain[-1].output in after:
            chain.append(after[chain[-1].output])
        x, steps = place[0], graph.shapes[place[0]][0]
        chain = chain[:steps]
        fits = (
            len(graph.shapes[x]) == 2
            and len(chain) == steps
            and all(
                step(graph, cell.inputs[0]) == (x, t) and _gates(cell) == _gates(first)
                for t, cell in enumerate(chain)
            )
        )
        if fits:
            _replace(graph, chain, x)


def share_states(graph: Graph) -> None:
    """The last state of a GRU whose states are all computed is one of them."""
    sequences = {
        (op.kind, op.inputs, _gates(op)): op
        for op in graph.ops
        if isinstance(op, ops.Gru | ops.Augru) and op.result == "sequence"
    }
    for op in list(graph.ops):
        if isinstance(op, ops.Gru | ops.Augru) and op.result == "last":
            whole = sequences.get((op.kind, op.inputs, _gates(op)))
            if whole is not None and graph.position(whole) < graph.position(op):
                _step_of(graph, op, whole.output, graph.shapes[whole.output][0] - 1)


def _gates(op: ops.GruCell | ops.Gru | ops.Augru) -> tuple[str | None, ...]:
    return (op.weight_ih, op.weight_hh, op.bias_ih, op.bias_hh)


def _zeros(graph: Graph, name: str) -> bool:
    op = graph.op(source(graph, name), ops.Constant)
    return op is not None and not np.any(graph.weights[op.weight])


def _replace(graph: Graph, chain: list[ops.GruCell], x: str) -> None:
    cells = [c.output for c in chain]
    inner = {cell.output for cell in chain[:-1]}
    read = [op for op in graph.ops if op.output not in cells and inner & set(op.inputs)]
    gates = dict(
        zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), _gates(chain[0]), strict=True)
    )
    if not read and not inner & set(graph.outputs):
        last = chain[-1]
        graph.replace(last, ops.Gru(output=last.output, inputs=(x,), result="last", **gates), cells)
        return
    whole = ops.Gru(output=f"{chain[0].output}:gru", inputs=(x,), result="sequence", **gates)
    graph.insert(chain[0], whole)
    for name in cells:
        graph.origins[whole.output] |= graph.origins[name]
    for t, cell in enumerate(chain):
        _step_of(graph, cell, whole.output, t)


def _step_of(graph: Graph, old: ops.GruCell | ops.Gru | ops.Augru, whole: str, t: int) -> None:
    """`old` becomes position t of `whole`."""
    part = ops.Slice(output=f"{old.output}:step", inputs=(whole,), axis=0, start=t, stop=t + 1)
    graph.insert(old, part)
    shape = graph.shapes[old.output]
    graph.replace(old, ops.Reshape(output=old.output, inputs=(part.output,), shape_to=shape))
