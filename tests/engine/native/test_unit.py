"""Fused attention units in fp32, bf16 and fp16, against their NumPy twin bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from recstack.engine import EngineConfig, LayerPrecision, compile, instruction_sets
from recstack.engine.native.build import make_plan
from recstack.engine.native.lower_attention import fold_features
from recstack.engine.native.lower_dense import dice_weights
from recstack.engine.precision import DenseFormat
from recstack.engine.reference import reference
from recstack.engine.reference.arrays import Array
from recstack.engine.reference.formats import to_fp16
from recstack.model import Model
from recstack.model.ops import AttentionLayer, AttentionPooling
from tests.engine.draft import Draft, make_batch
from tests.engine.float32_twin import Arithmetic, F, Floats

ISAS = [name for name, supported in instruction_sets().items() if supported]
FORMATS: tuple[DenseFormat, ...] = ("fp32", "bf16", "fp16")
ALL = ("query", "key", "difference", "product", "sum")


def unit(
    dim: int, widths: Sequence[int], activations: Sequence[str], positions: int, *features: str
) -> Model:
    """A unit's scores: hidden layers of these widths and activations, then a sigmoid's."""
    d = Draft(dim + sum(widths))
    query, keys = d.dense(dim), d.bag(d.sparse(positions), dim=dim, pooling="none")
    layers = []
    k = len(features) * dim
    for n, activation in zip((*widths, 1), (*activations, "sigmoid"), strict=True):
        layer = {"weight": d.weight(n, k), "bias": d.weight(n), "activation": activation}
        if activation in ("prelu", "dice"):
            layer["slope"] = d.weight(n)
        if activation == "dice":
            layer |= {"mean": d.weight(n), "variance": d.weight(n, low=0.5, high=2.0)}
        layers.append(layer)
        k = n
    fields = {"features": features, "layers": layers, "result": "scores"}
    return d.model(d.op("attention_pooling", query, keys, **fields))


def activate(model: Model, layer: AttentionLayer, x: Floats, set_: Arithmetic) -> Floats:
    if layer.activation == "relu":
        return np.maximum(x, F(0))
    if layer.activation in ("sigmoid", "tanh"):
        return set_.sigmoid(x) if layer.activation == "sigmoid" else set_.tanh(x)
    if layer.activation == "prelu":
        return np.where(x > 0, x, model.weights[layer.slope] * x)
    assert layer.activation == "dice" and layer.slope and layer.mean and layer.variance
    parts = dice_weights(make_plan(model), layer.slope, layer.mean, layer.variance, layer.eps)
    scale, shift, alpha = (p.astype(F) for p in parts)
    p = set_.sigmoid(set_.fma(x, scale, shift))
    return x * set_.fma(alpha, F(1) - p, p)


def twin(model: Model, format: DenseFormat, isa: str, inputs: Sequence[Array]) -> Array:
    """What native/kernels/seq/unit.h says, (rows, positions)."""
    op, weights, set_ = model.ops[-1], model.weights, Arithmetic.of(isa)
    assert isinstance(op, AttentionPooling)
    query, keys = (x.astype(F) for x in inputs)
    first, *others = op.layers
    parts = fold_features(op.features, weights[first.weight], keys.shape[-1])
    of_query, of_key, of_product = (None if p is None else p.astype(F) for p in parts)
    added = np.broadcast_to(weights[first.bias], (len(query), len(of_key)))
    if of_query is not None:
        added = set_.product(query, of_query, format) + weights[first.bias]
    of_rows = format
    if format == "fp16":  # rounded before they are folded, fp32 from then on
        of_key, of_rows = to_fp16(of_key), "fp32"
        of_product = None if of_product is None else to_fp16(of_product)
    scores = []
    for r in range(len(query)):
        w = of_key if of_product is None else set_.fma(of_product, query[r], of_key)
        x = activate(model, first, set_.product(keys[r], w, of_rows) + added[r], set_)
        for layer in others:
            x = set_.product(x, weights[layer.weight], format) + weights[layer.bias]
            x = activate(model, layer, x, set_)
        scores.append(x[:, 0])
    return np.asarray(scores, np.float64).reshape(keys.shape[:2])


CASES = [
    (6, (8,), ("relu",), 5, *ALL),
    (17, (13, 9), ("prelu", "sigmoid"), 33, "key", "product"),
    (32, (36,), ("dice",), 70, "query", "key", "difference", "product"),
    (9, (10, 24), ("tanh", "relu"), 16, "query", "key"),
]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case[2])))
def test_a_unit_is_its_twin_bit_for_bit(case, format, isa) -> None:
    model = unit(*case)
    (name,) = (op.output for op in model.ops if op.kind == "attention_pooling")
    engine = compile(model, EngineConfig(isa=isa, precision=format))
    assert engine.formats == {name: (format,)}
    plan = make_plan(model, precision=LayerPrecision(format).format)
    assert [step.kind for step in plan.steps].count("attention_unit") == 1
    batch = make_batch(model, (3, 0, 2), seed=7)
    want = reference(model, batch, {name: lambda inputs: twin(model, format, isa, inputs)})
    assert np.array_equal(engine.run(batch), want)
    if format != "fp32":  # which would not pass for it
        exact = compile(model, EngineConfig(isa=isa)).run(batch)
        assert (exact != want).mean() > 0.5
