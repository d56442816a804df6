"""Data movement that has no effect, or that a simpler op does."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from recstack.errors import ModelError
from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.ops.base import Op, broadcast


def tidy(graph: Graph) -> None:
    """Simplify stacks of slices, slices of stacks, repeats, reshapes of reshapes and expands."""
    for op in list(graph.ops):
        if graph.producers.get(op.output) is not op:
            continue
        if isinstance(op, ops.Concat):
            _repeat(graph, op)
        elif isinstance(op, ops.Reshape):
            _reshape(graph, op)
        elif isinstance(op, ops.Binary | ops.Where):
            _broadcast(graph, op)
    for op in list(graph.ops):
        current = graph.producers.get(op.output)
        if isinstance(current, ops.Stack | ops.Concat):
            _whole(graph, current)


def source(graph: Graph, name: str) -> str:
    """The value that `name` holds in the same order under another shape."""
    op = graph.producers.get(name)
    while isinstance(op, ops.Reshape):
        name = op.inputs[0]
        op = graph.producers.get(name)
    return name


def step(graph: Graph, name: str) -> tuple[str, int] | None:
    """(x, t) where `name` is position t of the first axis of x."""
    part = graph.op(source(graph, name), ops.Slice)
    if part is None or part.axis != 0 or part.stop != part.start + 1:
        return None
    return part.inputs[0], part.start


def _reshape(graph: Graph, op: ops.Reshape) -> None:
    """Reshapes of reshapes, and one position of a stack."""
    name = source(graph, op.inputs[0])
    place = step(graph, op.inputs[0])
    if place is not None:
        stack = graph.op(place[0], ops.Stack)
        if stack is not None and stack.axis == 0:
            name = stack.inputs[place[1]]
    if graph.op(name, ops.Stack) is not None and len(graph.producers[name].inputs) == 1:
        name = source(graph, graph.producers[name].inputs[0])
    if graph.shapes[name] == op.shape_to:
        graph.rename(op.output, name)
    elif name != op.inputs[0]:
        graph.replace(op, op.model_copy(update={"inputs": (name,)}), [op.inputs[0]])


def _repeat(graph: Graph, op: ops.Concat) -> None:
    """Copies of one value side by side along its first axis are an expand."""
    shape = graph.shapes[op.inputs[0]]
    if len(op.inputs) < 2 or len(set(op.inputs)) > 1 or op.axis % len(shape) != 0:
        return
    n = len(op.inputs)
    one = ops.Reshape(output=f"{op.output}:one", inputs=op.inputs[:1], shape_to=(1, *shape))
    wide = ops.Expand(output=f"{op.output}:wide", inputs=(one.output,), shape_to=(n, *shape))
    flat = (n * shape[0], *shape[1:])
    last = ops.Reshape(output=op.output, inputs=(wide.output,), shape_to=flat)
    graph.insert(op, one)
    graph.insert(op, wide)
    graph.replace(op, last)


def _broadcast(graph: Graph, op: Op) -> None:
    """Element-wise ops broadcast by themselves."""
    inputs = list(op.inputs)
    for i, name in enumerate(inputs):
        wide = graph.op(name, ops.Expand)
        if wide is not None:
            inputs[i] = wide.inputs[0]
            try:
                same = broadcast([graph.shapes[n] for n in inputs]) == graph.shapes[op.output]
            except ModelError:
                same = False
            inputs[i] = inputs[i] if same else name
    if tuple(inputs) != op.inputs:
        graph.replace(op, op.model_copy(update={"inputs": tuple(inputs)}), op.inputs)


def _whole(graph: Graph, op: ops.Stack | ops.Concat) -> None:
    """All positions of a value, put together again."""
    if op.axis != 0 or not op.inputs:
        return
    places: Sequence[tuple[str, int] | None] = [step(graph, n) for n in op.inputs]
    if places[0] is None:
        return
    name = places[0][0]
    in_order = list(places) == [(name, t) for t in range(graph.shapes[name][0])]
    if not in_order or prod(graph.shapes[name]) != prod(graph.shapes[op.output]):
        return
    if graph.shapes[name] == graph.shapes[op.output]:
        graph.rename(op.output, name)
