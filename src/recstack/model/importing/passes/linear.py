"""Biases and activations taken into the linear layer before them."""

from __future__ import annotations

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph


def add_biases(graph: Graph) -> None:
    """linear(x) + constant (out,) becomes a linear layer with a bias."""
    for op in list(graph.ops):
        if not isinstance(op, ops.Binary) or op.fn != "add" or len(op.inputs) != 2:
            continue
        for one, two in (op.inputs, op.inputs[::-1]):
            layer, bias = graph.op(one, ops.Linear), graph.constant(two)
            if layer is None or bias is None or layer.bias or layer.activation != "none":
                continue
            width = graph.shapes[one][-1]
            if not graph.private(one) or bias.size != width or bias.shape[-1:] != (width,):
                continue
            if len(bias.shape) > len(graph.shapes[one]):
                continue
            source = graph.op(two, ops.Constant)
            named = source.weight if source and bias.ndim == 1 else None
            name = named or graph.store(f"{op.output}.bias", bias.reshape(-1))
            new = layer.model_copy(update={"bias": name, "output": op.output})
            graph.replace(op, new, [one])
            break


def fuse_activations(graph: Graph) -> None:
    """relu, sigmoid or tanh of a linear layer becomes the layer's activation."""
    for op in list(graph.ops):
        if not isinstance(op, ops.Unary) or op.fn not in ("relu", "sigmoid", "tanh"):
            continue
        layer = graph.op(op.inputs[0], ops.Linear)
        if layer is None or layer.activation != "none" or not graph.private(op.inputs[0]):
            continue
        new = layer.model_copy(update={"activation": op.fn, "output": op.output})
        graph.replace(op, new, [op.inputs[0]])
