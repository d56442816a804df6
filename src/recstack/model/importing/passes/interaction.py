"""bmm(x, x.T) at the indices of a triangle becomes a dot interaction."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.ops.base import Op

Order = Literal["lower", "upper"]


def find_interactions(graph: Graph) -> None:
    """Recognise DLRM's dot interaction, whichever triangle it takes and with or without itself."""
    for op in list(graph.ops):
        picked = _flat_indices(graph, op)
        if picked is None:
            continue
        name, indices = picked
        product = graph.op(name, ops.Matmul)
        source = _gram(graph, product) if product else None
        if source is None:
            continue
        order = _triangle(graph.shapes[source][0], indices)
        if order is not None:
            new = ops.DotInteraction(
                output=op.output, inputs=(source,), order=order[0], self_pairs=order[1]
            )
            graph.replace(op, new, [name, *op.inputs])


def _flat_indices(graph: Graph, op: Op) -> tuple[str, list[int]] | None:
    """The square matrix that `op` reads, and which of its elements, row-major."""
    if isinstance(op, ops.Index) and op.axis == 0:
        indices = list(op.indices)
    elif isinstance(op, ops.Slice) and op.axis == 0:
        indices = list(range(op.start, op.stop, op.step))
    else:
        return None
    flat = graph.op(op.inputs[0], ops.Reshape)
    if flat is None or len(flat.shape_to) != 1:
        return None
    shape = graph.shapes[flat.inputs[0]]
    return (flat.inputs[0], indices) if len(shape) == 2 and shape[0] == shape[1] else None


def _gram(graph: Graph, product: ops.Matmul) -> str | None:
    """x of x @ x.T."""
    for one, two in (product.inputs, product.inputs[::-1]):
        flipped = graph.op(two, ops.Transpose)
        if flipped is not None and flipped.inputs == (one,) and flipped.axes == (1, 0):
            return one if one == product.inputs[0] else None
    return None


def _triangle(n: int, indices: list[int]) -> tuple[Order, bool] | None:
    """Which triangle of an (n, n) matrix the row-major `indices` are."""
    kinds: tuple[tuple[Order, Any], ...] = (
        ("lower", np.tril_indices),
        ("upper", np.triu_indices),
    )
    for order, function in kinds:
        for own in (False, True):
            rows, columns = function(n, 0 if own else (-1 if order == "lower" else 1))
            if indices == (rows * n + columns).tolist():
                return order, own
    return None
