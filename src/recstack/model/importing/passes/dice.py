"""Dice activations, in whatever algebraic form they are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.ops.base import Op

Array = NDArray[np.float64]
_POINTS = 8


def find_dices(graph: Graph) -> None:
    """x * (p + alpha * (1 - p)) with p = sigmoid(batch_norm(x)) becomes Dice.

    The expression is compared at random points, so its form does not matter.
    """
    for op in list(graph.ops):
        gate = graph.op(op.output, ops.Unary)
        norm = graph.op(gate.inputs[0], ops.BatchNorm) if gate and gate.fn == "sigmoid" else None
        if norm is None or norm.weight is not None or norm.bias is not None:
            continue
        if norm.axis % len(graph.shapes[norm.output]) != len(graph.shapes[norm.output]) - 1:
            continue
        for root in reversed(_reachable(graph, op.output)):
            if _match(graph, root, norm, op.output):
                break


def _reachable(graph: Graph, start: str) -> list[Op]:
    """The arithmetic that follows `start`, in order."""
    names, found = {start}, list[Op]()
    for op in graph.ops:
        if isinstance(op, ops.Binary) and names & set(op.inputs) and len(found) < 8:
            names.add(op.output)
            found.append(op)
    return found


def _match(graph: Graph, root: Op, norm: ops.BatchNorm, gate: str) -> bool:
    x, n = norm.inputs[0], graph.shapes[norm.output][-1]
    if graph.shapes[root.output] != graph.shapes[x]:
        return False
    points = np.random.default_rng(0).normal(size=(2, _POINTS, n))
    alpha = _evaluate(graph, root.output, {x: np.ones((1, n)), gate: np.zeros((1, n))})
    value = _evaluate(graph, root.output, {x: points[0], gate: points[1]})
    if alpha is None or value is None:
        return False
    wanted = points[0] * (points[1] + alpha * (1 - points[1]))
    if not np.allclose(value, wanted, rtol=1e-6, atol=1e-9):
        return False
    name = _stored(graph, root, np.broadcast_to(alpha, (1, n))[0])
    dice = ops.Dice(
        output=root.output,
        inputs=(x,),
        alpha=name,
        mean=norm.mean,
        variance=norm.variance,
        eps=norm.eps,
    )
    graph.replace(root, dice, [*_tree(graph, root.output, {x, gate}), gate, norm.output])
    return True


def _evaluate(graph: Graph, name: str, known: dict[str, Array], depth: int = 0) -> Array | None:
    """The value of arithmetic on `known` values and constants; None where it is more than that."""
    if name in known:
        return known[name]
    constant = graph.constant(name)
    if constant is not None:
        fits = constant.size == 1 or constant.shape[-1:] == constant.shape[:1]
        return constant.reshape(1, -1).astype(np.float64) if fits else None
    op = graph.op(name, ops.Binary)
    if op is None or op.fn not in ("add", "sub", "mul") or depth > 8:
        return None
    parts: list[Array] = []
    for name in op.inputs:
        part = _evaluate(graph, name, known, depth + 1)
        if part is None:
            return None
        parts.append(part)
    if op.scalar is not None:
        parts.append(np.full((1, 1), op.scalar))
    if op.scalar_first:
        parts.reverse()
    function = {"add": np.add, "sub": np.subtract, "mul": np.multiply}[op.fn]
    result: Array = function(parts[0], parts[1])
    return result


def _tree(graph: Graph, name: str, leaves: set[str]) -> set[str]:
    """Names of the arithmetic between `name` and its leaves."""
    op = graph.op(name, ops.Binary)
    if op is None or name in leaves:
        return set()
    return {name}.union(*(_tree(graph, n, leaves) for n in op.inputs))


def _stored(graph: Graph, root: Op, alpha: Array) -> str:
    """The weight that holds alpha: the module's own where there is one."""
    narrow = alpha.astype(np.float32)
    for name in _tree(graph, root.output, set()):
        for leaf in graph.producers[name].inputs:
            constant = graph.op(leaf, ops.Constant)
            if constant is not None and np.array_equal(graph.weights[constant.weight], narrow):
                return constant.weight
    return graph.store(f"{root.output}.alpha", narrow)
