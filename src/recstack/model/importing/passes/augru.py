"""A loop of GRU steps whose update gate is scaled by a score becomes an AUGRU.

A step, as torch code spells it, with gates [reset, update, new] side by side in two linear layers:

    x_r, x_u, x_n = split(W x_t + b);  h_r, h_u, h_n = split(V h + c)
    r = sigmoid(x_r + h_r);  u = score_t * sigmoid(x_u + h_u);  n = tanh(x_n + r * h_n)
    h = (1 - u) * h + u * n

Sums and products in either order; W may also be applied to all positions before the loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.importing.passes.tidy import source, step

Place = tuple[str, int]
Gates = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """What was matched: position t of `x` and of `scores`, the state before, weights and biases."""

    x: Place
    score: Place
    state: str
    gates: Gates


def find_scored_loops(graph: Graph) -> None:
    """A chain of steps over all positions of one sequence, from a state of zeros."""
    found = {op.output: s for op in graph.ops if (s := _step(graph, op.output)) is not None}
    after = {s.state: name for name, s in found.items()}
    for name, first in found.items():
        if first.x[1] != 0 or not _zeros(graph, first.state):
            continue
        chain, steps = [name], graph.shapes[first.x[0]][0]
        while len(chain) < steps and chain[-1] in after:
            chain.append(after[chain[-1]])
        fits = len(chain) == steps and graph.shapes[first.score[0]] == (steps,)
        if fits and all(_follows(found[n], first, t) for t, n in enumerate(chain)):
            _replace(graph, chain, first)


def _follows(step: Step, first: Step, t: int) -> bool:
    same = (step.x[0], step.score[0], step.gates) == (first.x[0], first.score[0], first.gates)
    return same and step.x[1] == step.score[1] == t


def _replace(graph: Graph, chain: list[str], first: Step) -> None:
    inner = set(chain[:-1])
    members = _between(graph, chain[-1], first)
    read = [op for op in graph.ops if op.output not in members and inner & set(op.inputs)]
    if read or inner & set(graph.outputs):
        return
    weight_ih, bias_ih, weight_hh, bias_hh = first.gates
    assert weight_ih is not None and weight_hh is not None
    whole = ops.Augru(
        output=chain[-1],
        inputs=(first.x[0], first.score[0]),
        result="last",
        weight_ih=weight_ih,
        weight_hh=weight_hh,
        bias_ih=bias_ih,
        bias_hh=bias_hh,
    )
    graph.replace(graph.producers[chain[-1]], whole, members)


def _between(graph: Graph, last: str, first: Step) -> set[str]:
    """Values from which `last` is made, down to the sequence, the scores and the first state."""
    ends, found, open_ = {first.x[0], first.score[0], first.state}, set[str](), [last]
    while open_:
        name = open_.pop()
        if name not in found and name not in ends:
            found.add(name)
            open_ += graph.producers[name].inputs if name in graph.producers else ()
    return found


def _zeros(graph: Graph, name: str) -> bool:
    op = graph.op(source(graph, name), ops.Constant)
    return op is not None and not np.any(graph.weights[op.weight])


def _pairs(graph: Graph, name: str, fn: str) -> Iterator[tuple[str, str]]:
    """The two sides of a sum or product, in both orders."""
    op = graph.op(name, ops.Binary)
    if op is not None and op.fn == fn and len(op.inputs) == 2:
        yield op.inputs[0], op.inputs[1]
        yield op.inputs[1], op.inputs[0]


def _inside(graph: Graph, name: str, fn: str) -> str | None:
    """y where `name` is fn(y)."""
    op = graph.op(name, ops.Unary)
    return op.inputs[0] if op is not None and op.fn == fn else None


def _step(graph: Graph, name: str) -> Step | None:
    for kept, moved in _pairs(graph, name, "add"):
        for rest, state in _pairs(graph, kept, "mul"):
            less = graph.op(rest, ops.Binary)
            if less is None or less.fn != "sub" or not less.scalar_first or less.scalar != 1:
                continue
            for update, new in _pairs(graph, moved, "mul"):
                if less.inputs == (update,):
                    return _gated(graph, state, update, new)
    return None


def _gated(graph: Graph, state: str, update: str, new: str) -> Step | None:
    inner = _inside(graph, new, "tanh")
    for score, squashed in _pairs(graph, update, "mul"):
        place, gate = step(graph, score), _inside(graph, squashed, "sigmoid")
        if place is None or gate is None or inner is None or graph.shapes[score] != (1,):
            continue
        for x_n, product in _pairs(graph, inner, "add"):
            for opened, h_n in _pairs(graph, product, "mul"):
                reset = _inside(graph, opened, "sigmoid")
                made = _layers(graph, state, reset, gate, x_n, h_n)
                if made is not None:
                    return Step(made[0], place, state, made[1])
    return None


def _layers(
    graph: Graph, state: str, reset: str | None, update: str, x_n: str, h_n: str
) -> tuple[Place, Gates] | None:
    """Position of the sequence, and the weights, of the two layers whose thirds the gates are."""
    if reset is None:
        return None
    for x_r, h_r in _pairs(graph, reset, "add"):
        for x_u, h_u in _pairs(graph, update, "add"):
            of_x, of_h = _whole(graph, (x_r, x_u, x_n)), _whole(graph, (h_r, h_u, h_n))
            if of_x is None or of_h is None:
                continue
            x, h = _layer(graph, of_x), graph.op(of_h, ops.Linear)
            if x is None or h is None or h.inputs != (state,) or h.activation != "none":
                continue
            return x[0], (x[1].weight, x[1].bias, h.weight, h.bias)
    return None


def _whole(graph: Graph, parts: tuple[str, ...]) -> str | None:
    """The vector whose thirds, in this order, are `parts`."""
    found = [graph.op(name, ops.Slice) for name in parts]
    slices = [s for s in found if s is not None and s.axis in (0, -1) and s.step == 1]
    if len(slices) < len(parts) or len({s.inputs for s in slices}) > 1:
        return None
    name, width = slices[0].inputs[0], graph.shapes[parts[0]]
    spans = [(s.start, s.stop) for s in slices]
    if len(width) != 1 or graph.shapes[name] != (3 * width[0],):
        return None
    wanted = [(i * width[0], (i + 1) * width[0]) for i in range(3)]
    return name if spans == wanted else None


def _layer(graph: Graph, name: str) -> tuple[Place, ops.Linear] | None:
    """The layer that makes `name` of one position, and that position."""
    layer = graph.op(source(graph, name), ops.Linear)
    if layer is not None:
        place = step(graph, layer.inputs[0])
    else:
        row = step(graph, name)
        layer = graph.op(row[0], ops.Linear) if row is not None else None
        place = (layer.inputs[0], row[1]) if layer is not None and row is not None else None
    if layer is None or place is None or layer.activation != "none":
        return None
    return (place, layer) if len(graph.shapes[place[0]]) == 2 else None
