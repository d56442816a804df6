"""x0 * linear(linear(x)) + x becomes a DCNv2 cross layer."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph


def find_crosses(graph: Graph) -> None:
    """Recognise cross layers of full and of low rank."""
    for op in list(graph.ops):
        if not isinstance(op, ops.Binary) or op.fn != "add" or len(op.inputs) != 2:
            continue
        for product, x in (op.inputs, op.inputs[::-1]):
            new = _cross(graph, op.output, product, x)
            if new is not None:
                layer, absorbed = new
                graph.replace(op, layer, absorbed)
                break


def _cross(graph: Graph, output: str, product: str, x: str) -> tuple[ops.Cross, list[str]] | None:
    times = graph.op(product, ops.Binary)
    if times is None or times.fn != "mul" or len(times.inputs) != 2 or not graph.private(product):
        return None
    for x0, last in (times.inputs, times.inputs[::-1]):
        upper = graph.op(last, ops.Linear)
        if upper is None or upper.activation != "none" or not graph.private(last):
            continue
        if graph.shapes[x0] != graph.shapes[x] or len(graph.shapes[x]) != 1:
            continue
        lower = graph.op(upper.inputs[0], ops.Linear)
        plain = lower is not None and lower.bias is None and lower.activation == "none"
        if upper.inputs[0] == x:
            weight_v, absorbed = None, [product, last]
        elif lower is not None and plain and lower.inputs == (x,) and graph.private(lower.output):
            weight_v, absorbed = lower.weight, [product, last, lower.output]
        else:
            continue
        cross = ops.Cross(
            output=output, inputs=(x0, x), weight_v=weight_v, weight_u=upper.weight, bias=upper.bias
        )
        return cross, absorbed
    return None
