"""Embedding followed by a sum or mean over its sequence becomes a bag."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph


def pool_sequences(graph: Graph) -> None:
    """sum or mean over the positions of a sequence; a sum may be masked by the padding index."""
    for op in list(graph.ops):
        if not isinstance(op, ops.Reduce) or op.fn not in ("sum", "mean") or op.keepdims:
            continue
        shape = graph.shapes[op.inputs[0]]
        if len(shape) != 2 or tuple(a % 2 for a in op.axes) != (0,):
            continue
        found = graph.op(op.inputs[0], ops.EmbeddingBag)
        padding = found.padding_index if found else None
        absorbed = [op.inputs[0]]
        if found is None and op.fn == "sum":
            found, padding, absorbed = _masked(graph, op.inputs[0])
        if found is None or found.pooling != "none" or (op.fn == "mean" and padding is not None):
            continue
        changes = {"pooling": op.fn, "padding_index": padding, "output": op.output}
        graph.replace(op, found.model_copy(update=changes), absorbed)


def _masked(graph: Graph, name: str) -> tuple[ops.EmbeddingBag | None, int | None, list[str]]:
    """A sequence times its own mask: the sequence, its padding index, and what was taken in."""
    product = graph.op(name, ops.Binary)
    if product is None or product.fn != "mul" or len(product.inputs) != 2:
        return None, None, []
    for one, two in (product.inputs, product.inputs[::-1]):
        rows, column = graph.op(one, ops.EmbeddingBag), graph.op(two, ops.Reshape)
        mask = graph.op(column.inputs[0], ops.SequenceMask) if column else None
        if rows is None or mask is None or rows.pooling != "none" or column is None:
            continue
        same = rows.inputs == mask.inputs and column.shape_to == (graph.shapes[one][0], 1)
        if same and rows.padding_index in (None, mask.padding_index):
            return rows, mask.padding_index, [name, one]
    return None, None, []
