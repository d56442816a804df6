"""Small hand-built models that together use every op, for the conformance of every executor.

`SMALL_MODELS[name]()` gives (model, batch); `make_batch(model, query_rows)` gives other
batches, such as those of QUERY_ROWS_CASES (`tests.engine.draft`).

    @pytest.mark.parametrize("name", SMALL_MODELS)
    def test_agrees(name):
        model, batch = SMALL_MODELS[name]()
        np.testing.assert_allclose(engine(model).run(batch), reference(model, batch), ...)

All scores are of order 1 and sit away from the jumps of floor, sign and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recstack.batch import Batch
from recstack.model import Model
from tests.engine.draft import Draft, make_batch

SMALL_MODELS: dict[str, Callable[[], tuple[Model, Batch]]] = {}


def small_model(
    index_dtype: type[np.integer[Any]] = np.int32,
) -> Callable[[Callable[[Draft], Sequence[str]]], Callable[[Draft], Sequence[str]]]:
    """Add a function that fills a Draft and returns the outputs to SMALL_MODELS."""

    def add(fill: Callable[[Draft], Sequence[str]]) -> Callable[[Draft], Sequence[str]]:
        def make() -> tuple[Model, Batch]:
            draft = Draft()
            model = draft.model(*fill(draft))
            return model, make_batch(model, index_dtype=index_dtype)

        SMALL_MODELS[fill.__name__] = make
        return fill

    return add


@small_model()
def mlp(d: Draft) -> Sequence[str]:
    x = d.dense(5)
    h = d.linear(d.linear(x, 5, 7, "relu"), 7, 6, "tanh")
    deep = d.op("linear", d.op("reshape", h, shape_to=(2, 3)), weight=d.weight(4, 3))
    return [d.linear(h, 6, 1, "sigmoid"), deep]


def fill_bags(d: Draft) -> Sequence[str]:
    shared = d.weight(20, 4)
    one, fixed, ragged = d.sparse(fixed=True), d.sparse(3, fixed=True), d.sparse(3)
    weighted, user = d.sparse(2, weighted=True), d.sparse(2, "user")
    outputs = [
        d.op("embedding_bag", one, table=shared),
        d.op("embedding_bag", fixed, table=shared, row_offset=11),
        d.op("embedding_bag", ragged, table=shared, pooling="mean"),
    ]
    for pooling in ("sum", "mean"):
        for feature in (fixed, ragged, user):
            outputs.append(d.bag(feature, pooling=pooling))
            outputs.append(d.bag(feature, pooling=pooling, padding_index=0, dim=3))
    outputs.append(d.bag(weighted, pooling="weighted"))
    outputs.append(d.bag(weighted, pooling="weighted", padding_index=0))
    return outputs


@small_model(np.int32)
def bags_int32(d: Draft) -> Sequence[str]:
    return fill_bags(d)


@small_model(np.int64)
def bags_int64(d: Draft) -> Sequence[str]:
    return fill_bags(d)


def fill_sequences(d: Draft) -> Sequence[str]:
    outputs = []
    for feature in (d.sparse(3, fixed=True), d.sparse(4), d.sparse(3, "user")):
        for padding in (None, 0):
            outputs.append(d.bag(feature, pooling="none", padding_index=padding, row_offset=2))
            outputs.append(d.op("sequence_mask", feature, padding_index=padding))
    return [*outputs, d.op("sequence_mask", d.sparse(2))]


@small_model(np.int32)
def sequences_int32(d: Draft) -> Sequence[str]:
    return fill_sequences(d)


@small_model(np.int64)
def sequences_int64(d: Draft) -> Sequence[str]:
    return fill_sequences(d)


@small_model()
def dot_interactions(d: Draft) -> Sequence[str]:
    x = d.op("stack", d.dense(4), d.bag(d.sparse(2)), d.bag(d.sparse(2, "user")))
    variants = [(o, s) for o in ("lower", "upper") for s in (False, True)]
    return [d.op("dot_interaction", x, order=o, self_pairs=s) for o, s in variants]


@small_model()
def crosses(d: Draft) -> Sequence[str]:
    x0 = d.dense(6)
    x = d.op("cross", x0, x0, weight_u=d.weight(6, 6), bias=d.weight(6))
    low_rank = {"weight_v": d.weight(2, 6), "weight_u": d.weight(6, 2)}
    return [d.op("cross", x0, x, **low_rank), d.op("cross", x0, x, bias=d.weight(6), **low_rank)]


@small_model()
def norms(d: Draft) -> Sequence[str]:
    flat = d.dense(12)
    x = d.op("reshape", flat, shape_to=(3, 4))
    outputs = [
        d.op("layer_norm", x),
        d.op("layer_norm", flat, weight=d.weight(12), bias=d.weight(12), eps=1e-3),
    ]
    for value, axis, n in ((flat, -1, 12), (x, -1, 4), (x, 0, 3)):
        moments = {"mean": d.weight(n), "variance": d.weight(n, low=0.5, high=2)}
        affine = {"weight": d.weight(n), "bias": d.weight(n)} if axis else {"eps": 0.1}
        outputs.append(d.op("batch_norm", value, axis=axis, **moments, **affine))
    return outputs


@small_model()
def activations(d: Draft) -> Sequence[str]:
    flat = d.dense(12)
    x = d.op("reshape", flat, shape_to=(3, 4))
    moments = {"mean": d.weight(4), "variance": d.weight(4, low=0.5, high=2)}
    return [
        d.op("prelu", flat, slope=d.weight(12)),
        d.op("prelu", x, slope=d.weight(1)),
        d.op("prelu", x, slope=d.weight(4)),
        d.op("prelu", x, slope=d.weight(3), axis=0),
        d.op("dice", x, alpha=d.weight(4), **moments),
        d.op("softmax", x),
        d.op("softmax", x, axis=0),
    ]


def attention_layers(d: Draft, features: int, dim: int) -> list[dict[str, Any]]:
    widths = [features * dim, 5, 4, 3, 1]
    kinds = ("prelu", "dice", "sigmoid", "none")
    layers: list[dict[str, Any]] = [
        {"weight": d.weight(widths[i + 1], widths[i]), "bias": d.weight(widths[i + 1])}
        for i in range(4)
    ]
    for layer, kind in zip(layers, kinds, strict=True):
        layer["activation"] = kind
    moments = {"mean": d.weight(4), "variance": d.weight(4, low=0.5, high=2)}
    layers[0]["slope"] = d.weight(5)
    layers[1].update(slope=d.weight(4), **moments)
    return layers


@small_model()
def attention(d: Draft) -> Sequence[str]:
    query, history = d.dense(3), d.sparse(4, "user")
    keys = d.bag(history, dim=3, pooling="none", padding_index=0)
    mask = d.op("sequence_mask", history, padding_index=0)
    outputs = []
    for features in (("query", "key", "difference", "product"), ("key", "sum")):
        layers = attention_layers(d, len(features), 3)
        for inputs in ((query, keys), (query, keys, mask)):
            for normalise in ("none", "softmax"):
                fields = {"features": features, "layers": layers, "normalise": normalise}
                for result in ("pooled", "scores"):
                    outputs.append(d.op("attention_pooling", *inputs, result=result, **fields))
    return outputs


@small_model()
def recurrent(d: Draft) -> Sequence[str]:
    history, scores = d.sparse(4, "user"), d.op("softmax", d.dense(4))
    x = d.bag(history, dim=3, pooling="none")
    prefix = d.op("sequence_mask", history)
    holes = d.op("sequence_mask", history, padding_index=0)
    weights = {"weight_ih": d.weight(15, 3), "weight_hh": d.weight(15, 5)}
    biases = {"bias_ih": d.weight(15), "bias_hh": d.weight(15)}
    outputs = [
        d.op("gru_cell", d.dense(3), d.dense(5, "user"), **weights, **biases),
        d.op("gru_cell", d.dense(3), d.dense(5), **weights),
        d.op("gru", x, **weights, bias_hh=biases["bias_hh"]),
    ]
    for result in ("last", "sequence"):
        for extra in ((), (prefix,), (holes,)):
            outputs.append(d.op("gru", x, *extra, result=result, **weights, **biases))
            outputs.append(d.op("augru", x, scores, *extra, result=result, **weights, **biases))
    return [*outputs, d.op("augru", x, scores, **weights)]


@small_model()
def unary(d: Draft) -> Sequence[str]:
    x = d.dense(4)
    positive = d.op("binary", d.op("unary", x, fn="abs"), fn="add", scalar=0.5)
    anywhere = "relu sigmoid tanh exp abs neg square gelu gelu_tanh silu softplus elu erf sign"
    above_0 = "log sqrt reciprocal rsqrt"
    outputs = [d.op("unary", x, fn=fn) for fn in (*anywhere.split(), "floor", "sin", "cos")]
    return outputs + [d.op("unary", positive, fn=fn) for fn in above_0.split()]


@small_model()
def binary(d: Draft) -> Sequence[str]:
    a, b, user = d.dense(3), d.dense(3), d.dense(3, "user")
    positive = d.op("binary", d.op("unary", b, fn="abs"), fn="add", scalar=0.5)
    whole = [d.op("unary", value, fn="floor") for value in (a, user)]
    outputs = [d.op("binary", a, user, fn=fn) for fn in ("add", "sub", "mul", "maximum", "minimum")]
    outputs += [d.op("binary", a, positive, fn="div"), d.op("binary", positive, a, fn="pow")]
    for fn in ("eq", "ne", "lt", "le", "gt", "ge"):
        outputs.append(d.op("binary", *whole, fn=fn))
    for fn in ("add", "sub", "mul", "div", "maximum", "minimum", "pow"):
        outputs.append(d.op("binary", positive, fn=fn, scalar=1.5))
        outputs.append(d.op("binary", positive, fn=fn, scalar=1.5, scalar_first=True))
    for fn in ("eq", "ne", "lt", "le", "gt", "ge"):
        outputs.append(d.op("binary", whole[0], fn=fn, scalar=-1.0))
        outputs.append(d.op("binary", whole[0], fn=fn, scalar=-1.0, scalar_first=True))
    return outputs


@small_model()
def clamp_and_where(d: Draft) -> Sequence[str]:
    x, user = d.dense(3), d.dense(3, "user")
    mask = d.op("binary", x, fn="gt", scalar=0.25)
    return [
        d.op("clamp", x, low=-0.5),
        d.op("clamp", x, high=0.5),
        d.op("clamp", x, low=-0.5, high=0.5),
        d.op("clamp", x),
        d.op("where", mask, x, user),
        d.op("where", mask, user, d.op("constant", weight=d.weight(1))),
    ]


@small_model()
def reduce(d: Draft) -> Sequence[str]:
    x = d.op("reshape", d.dense(24), shape_to=(2, 3, 4))
    variants = [
        {"fn": fn, "axes": axes, "keepdims": keep}
        for fn in ("sum", "mean", "max", "min", "norm2", "prod")
        for axes in ((0,), (-1,), (0, 2))
        for keep in (False, True)
    ]
    return [d.op("reduce", x, **fields) for fields in variants]


@small_model()
def matmul(d: Draft) -> Sequence[str]:
    a = d.op("reshape", d.dense(6), shape_to=(2, 3))
    b = d.op("reshape", d.dense(24, "user"), shape_to=(2, 3, 4))
    return [
        d.op("matmul", a, b),
        d.op("matmul", b, d.op("constant", weight=d.weight(4, 2))),
        d.op("matmul", d.op("constant", weight=d.weight(5, 2)), a),
    ]


@small_model()
def moves(d: Draft) -> Sequence[str]:
    x = d.op("reshape", d.dense(12), shape_to=(3, 4))
    user = d.op("reshape", d.dense(4, "user"), shape_to=(1, 4))
    three = d.op("stack", x, x, axis=1)
    return [
        d.op("concat", x, user, x, axis=0),
        d.op("concat", x, x),
        d.op("stack", x, x, axis=-1),
        d.op("stack", d.dense(3), d.dense(3, "user")),
        d.op("transpose", three, axes=(2, 0, 1)),
        d.op("reshape", d.op("transpose", three, axes=(1, 2, 0)), shape_to=(6, 4)),
        d.op("slice", x, axis=1, start=1, stop=4, step=2),
        d.op("slice", three, axis=-3, start=0, stop=2),
        d.op("index", x, axis=-1, indices=(3, 0, 0)),
        d.op("index", three, axis=0, indices=(2,)),
        d.op("expand", user, shape_to=(2, 3, 4)),
    ]


@small_model()
def broadcasting(d: Draft) -> Sequence[str]:
    """Entry shapes meet from the right: (3, 1) with (4,), and a scalar entry () with (3, 1)."""
    column = d.op("reshape", d.dense(3), shape_to=(3, 1))
    row, scalar = d.dense(4, "user"), d.op("reshape", d.dense(1), shape_to=())
    table = d.op("constant", weight=d.weight(3, 4))
    sums = [
        d.op("binary", column, row, fn="add"),
        d.op("binary", scalar, column, fn="mul"),
        d.op("binary", scalar, table, fn="sub"),
        d.op("where", scalar, column, row),
    ]
    return [*sums, scalar]


@small_model()
def constants(d: Draft) -> Sequence[str]:
    """Ops on constants alone, constants beside user and item values, constants as outputs."""
    a, b = (d.op("constant", weight=d.weight(2, 3)) for _ in range(2))
    total = d.op("reduce", d.op("binary", a, b, fn="mul"), fn="sum", axes=(0,))
    user, item = d.dense(3, "user"), d.dense(3)
    return [
        total,
        d.op("concat", total, user),
        d.op("concat", total, user, item),
        d.op("linear", total, weight=d.weight(2, 3)),
    ]


@small_model()
def user_only(d: Draft) -> Sequence[str]:
    """No item-scope input: all rows of a query have one score."""
    x = d.op("concat", d.dense(3, "user"), d.bag(d.sparse(2, "user")))
    return [d.linear(x, 7, 2, "sigmoid")]


@small_model()
def opaque(d: Draft) -> Sequence[str]:
    """Runs in torch whatever the executor."""
    x = d.op("reshape", d.dense(6), shape_to=(2, 3))
    call = {"target": "aten.cumsum.default", "entry_shape": (2, 3)}
    running = d.op("opaque", x, arguments=({"input": 0}, 2), **call)
    user = d.op(
        "opaque", d.dense(3, "user"), arguments=({"input": 0}, 1), **call | {"entry_shape": (3,)}
    )
    return [running, d.op("binary", running, user, fn="add")]


@small_model(np.int64)
def dlrm(d: Draft) -> Sequence[str]:
    dense = d.linear(d.linear(d.dense(5), 5, 8, "relu"), 8, 4, "relu")
    scopes = ("item", "user", "item", "item")
    bags = [d.bag(d.sparse(3, scope), rows=17) for scope in scopes]
    pairs = d.op("dot_interaction", d.op("stack", dense, *bags))
    top = d.linear(d.op("concat", dense, pairs), 14, 6, "relu")
    return [d.linear(top, 6, 1, "sigmoid")]


@small_model(np.int64)
def din(d: Draft) -> Sequence[str]:
    """The history shares the candidate's table; the query is an item, the keys a user's."""
    table = d.weight(30, 4)
    item, history, user = d.sparse(fixed=True), d.sparse(6, "user"), d.sparse(scope="user")
    query = d.op("embedding_bag", item, table=table)
    keys = d.op("embedding_bag", history, table=table, pooling="none")
    mask = d.op("sequence_mask", history)
    layers = attention_layers(d, 4, 4)
    interest = d.op("attention_pooling", query, keys, mask, layers=layers)
    x = d.op("concat", query, interest, d.bag(user), d.dense(2))
    return [d.linear(d.linear(x, 14, 5, "relu"), 5, 1, "sigmoid")]
