"""DIN's local activation unit: scores of keys by layers over (query, key, difference, product)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.model import ops
from recstack.model.importing.passes.graph import Graph
from recstack.model.importing.passes.tidy import source
from recstack.model.ops.sequence import FEATURE_ORDER, AttentionFeature


@dataclass
class Unit:
    """What was matched: the layers, last first, the value below them, the names taken in."""

    layers: list[ops.AttentionLayer] = field(default_factory=list)
    below: str = ""
    absorbed: list[str] = field(default_factory=list)


def find_scores(graph: Graph) -> None:
    """Layers over the features of a query and each key become attention scores (L,)."""
    for op in list(graph.ops):
        shape = graph.shapes[op.output]
        if not isinstance(op, ops.Linear) or len(shape) != 2 or shape[1] != 1 or shape[0] < 2:
            continue
        unit = _layers(graph, op)
        parts = graph.op(unit.below, ops.Concat)
        if parts is None or parts.axis % 2 != 1 or not graph.private(unit.below):
            continue
        pair = _pair(graph, parts)
        if pair is not None:
            _emit(graph, op, unit, parts, *pair)


def _layers(graph: Graph, last: ops.Linear) -> Unit:
    """The chain of layers that ends in `last`."""
    unit, name = Unit(), last.output
    pending: dict[str, Any] = {}
    while True:
        op = graph.producers.get(name)
        if name != last.output and not graph.private(name):
            break
        if isinstance(op, ops.Linear) and not (pending and op.activation != "none"):
            given = pending or {"activation": op.activation}
            layer = ops.AttentionLayer(weight=op.weight, bias=op.bias, **given)
            unit.layers.append(layer)
            pending = {}
        elif isinstance(op, ops.Prelu) and not pending and op.axis in (-1, 1):
            pending = {"activation": "prelu", "slope": op.slope}
        elif isinstance(op, ops.Dice) and not pending:
            statistics = {"mean": op.mean, "variance": op.variance, "eps": op.eps}
            pending = {"activation": "dice", "slope": op.alpha, **statistics}
        elif isinstance(op, ops.Unary) and not pending and op.fn in ("relu", "sigmoid", "tanh"):
            pending = {"activation": op.fn}
        else:
            break
        unit.absorbed.append(name)
        name = op.inputs[0]
    unit.below = "" if pending else name
    return unit


def _query(graph: Graph, name: str) -> str | None:
    """q where `name` repeats a vector q (d,) for every key."""
    wide = graph.op(name, ops.Expand)
    below = wide.inputs[0] if wide else name
    shape = graph.shapes[below]
    if len(shape) != 2 or shape[0] != 1:
        return below if len(shape) == 1 and wide is not None else None
    inner = source(graph, below)
    return inner if graph.shapes[inner] == shape[1:] else None


Feature = tuple[AttentionFeature, float]


def _pair(graph: Graph, parts: ops.Concat) -> tuple[str, str, list[Feature]] | None:
    """Query, keys, and what each part of the concat is."""
    queries = {q for n in parts.inputs if (q := _query(graph, n)) is not None}
    for n in parts.inputs:
        op = graph.op(n, ops.Binary)
        queries |= {q for i in (op.inputs if op else ()) if (q := _query(graph, i)) is not None}
    if len(queries) != 1:
        return None
    query = queries.pop()
    keys = {n for n in parts.inputs if _query(graph, n) is None and graph.op(n, ops.Binary) is None}
    for n in parts.inputs:
        op = graph.op(n, ops.Binary)
        if op is not None and len(op.inputs) == 2:
            others = {i for i in op.inputs if _query(graph, i) is None}
            keys |= others if len(others) == 1 else set()
    if len(keys) != 1:
        return None
    key = keys.pop()
    found = [_feature(graph, n, query, key) for n in parts.inputs]
    features = [f for f in found if f is not None]
    names = [f[0] for f in features]
    if len(features) < len(found) or len(set(names)) < len(names):
        return None
    whole = graph.shapes[parts.output][0]
    fits = graph.shapes[key] == (whole, *graph.shapes[query])
    return (query, key, features) if fits else None


def _feature(graph: Graph, name: str, query: str, key: str) -> Feature | None:
    if name == key:
        return "key", 1.0
    if _query(graph, name) == query:
        return "query", 1.0
    op = graph.op(name, ops.Binary)
    if op is None or len(op.inputs) != 2:
        return None
    sides = tuple("k" if i == key else "q" if _query(graph, i) == query else "?" for i in op.inputs)
    if sorted(sides) != ["k", "q"]:
        return None
    if op.fn == "sub":
        return "difference", 1.0 if sides == ("q", "k") else -1.0
    known: dict[str, AttentionFeature] = {"mul": "product", "add": "sum"}
    return (known[op.fn], 1.0) if op.fn in known else None


def _emit(
    graph: Graph,
    op: ops.Linear,
    unit: Unit,
    parts: ops.Concat,
    query: str,
    key: str,
    features: list[Feature],
) -> None:
    layers = unit.layers[::-1]
    ordered = sorted(range(len(features)), key=lambda i: FEATURE_ORDER.index(features[i][0]))
    if ordered != list(range(len(features))) or any(sign < 0 for _, sign in features):
        weight = graph.weights[layers[0].weight]
        blocks = np.split(weight, len(features), axis=1)
        moved: NDArray[np.float32] = np.concatenate(
            [blocks[i] * np.float32(features[i][1]) for i in ordered], axis=1
        )
        name = graph.store(f"{layers[0].weight}:ordered", moved)
        layers[0] = layers[0].model_copy(update={"weight": name})
    scores = ops.AttentionPooling(
        output=f"{op.output}:scores",
        inputs=(query, key),
        features=tuple(features[i][0] for i in ordered),
        layers=tuple(layers),
        result="scores",
    )
    graph.insert(op, scores)
    taken = [*unit.absorbed, parts.output, *parts.inputs]
    for name in taken:
        graph.origins[scores.output] |= graph.origins.get(name, frozenset())
    shape = graph.shapes[op.output]
    graph.replace(op, ops.Reshape(output=op.output, inputs=(scores.output,), shape_to=shape))


def pool_scores(graph: Graph) -> None:
    """The sum of scores times their own keys becomes part of the attention op.

    Only for scores times a mask: a masked softmax in torch averages all keys when every position
    is masked, where the op gives zeros, so it stays as it is written.
    """
    for op in list(graph.ops):
        pair = _weighted_sum(graph, op)
        if pair is None:
            continue
        name, keys, absorbed = pair
        name, mask = _unmasked(graph, name)
        unit = graph.op(name, ops.AttentionPooling)
        if unit is None or unit.result != "scores" or unit.inputs[1:] != (keys,):
            continue
        if not graph.private(name):
            continue
        inputs = unit.inputs if mask is None else (*unit.inputs, mask)
        pooled = ops.AttentionPooling(
            output=f"{op.output}:pooled", inputs=inputs, features=unit.features, layers=unit.layers
        )
        graph.insert(op, pooled)
        for taken in [*absorbed, name, op.output]:
            graph.origins[pooled.output] |= graph.origins.get(taken, frozenset())
        shape = graph.shapes[op.output]
        graph.replace(op, ops.Reshape(output=op.output, inputs=(pooled.output,), shape_to=shape))


def _weighted_sum(graph: Graph, op: ops.Op) -> tuple[str, str, list[str]] | None:
    """(scores (L,), keys, names taken in) of a sum of keys."""
    if isinstance(op, ops.Matmul):
        one, two = op.inputs
        if graph.shapes[one][:-1] == (1,):
            return source(graph, one), two, [one]
        flipped = graph.op(one, ops.Transpose)
        if graph.shapes[two][1:] == (1,) and flipped is not None and flipped.axes == (1, 0):
            return source(graph, two), flipped.inputs[0], [one, two]
        return None
    if not isinstance(op, ops.Reduce) or op.fn != "sum" or len(graph.shapes[op.inputs[0]]) != 2:
        return None
    product = graph.op(op.inputs[0], ops.Binary)
    if product is None or product.fn != "mul" or len(product.inputs) != 2:
        return None
    if tuple(a % 2 for a in op.axes) != (0,) or not graph.private(product.output):
        return None
    for one, two in (product.inputs, product.inputs[::-1]):
        if graph.shapes[one][1:] == (1,):
            return source(graph, one), two, [product.output, one]
    return None


def _unmasked(graph: Graph, name: str) -> tuple[str, str | None]:
    """Scores and mask of scores times a mask."""
    product = graph.op(name, ops.Binary)
    if product is not None and product.fn == "mul" and len(product.inputs) == 2:
        for one, two in (product.inputs, product.inputs[::-1]):
            mask = source(graph, two)
            if graph.op(mask, ops.SequenceMask) is not None and graph.private(name):
                return source(graph, one), mask
    return name, None
