"""Ops over behaviour sequences: attention pooling, GRU, AUGRU."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from recstack.model.ops.base import Name, Op, Shape, WeightShapes, require
from recstack.model.ops.dense import linear_shape

AttentionFeature = Literal["query", "key", "difference", "product", "sum"]
FEATURE_ORDER: tuple[AttentionFeature, ...] = ("query", "key", "difference", "product", "sum")


class AttentionLayer(BaseModel):
    """One layer of an attention unit: activation(x @ weight.T + bias).

    prelu reads `slope` (1,) or (out,); dice reads `slope` (its alpha), `mean`, `variance` (out,).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    weight: Name
    bias: Name | None = None
    activation: Literal["none", "relu", "sigmoid", "tanh", "prelu", "dice"] = "none"
    slope: Name | None = None
    mean: Name | None = None
    variance: Name | None = None
    eps: float = Field(default=1e-8, ge=0)

    def weights(self) -> tuple[str, ...]:
        """Names of the weights that this layer reads."""
        named = (self.weight, self.bias, self.slope, self.mean, self.variance)
        return tuple(w for w in named if w is not None)


class AttentionPooling(Op):
    """DIN's local activation unit (Zhou 2018, section 4.3): a sum of keys by learned scores.

    inputs (query (d,), keys (L, d)[, mask (L,)]). Each position's `features` of query and key
    (difference is query - key) go side by side, in the order of FEATURE_ORDER, through `layers` to
    one score; with normalise="softmax" over the unmasked positions. Result: sum of score * key (d,)
    or with result="scores" the masked scores (L,). No unmasked position gives zeros.
    """

    kind: Literal["attention_pooling"] = "attention_pooling"
    features: tuple[AttentionFeature, ...] = ("query", "key", "difference", "product")
    layers: tuple[AttentionLayer, ...] = Field(min_length=1)
    normalise: Literal["none", "softmax"] = "none"
    result: Literal["pooled", "scores"] = "pooled"
    arity: ClassVar[tuple[int, int]] = (2, 3)

    def weights(self) -> tuple[str, ...]:
        return tuple(w for layer in self.layers for w in layer.weights())

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        query, keys = inputs[:2]
        require(len(keys) == 2 and query == keys[1:], "query (d,) and keys (L, d)", inputs)
        require(len(inputs) == 2 or inputs[2] == keys[:1], f"a mask of shape {keys[:1]}", inputs)
        wanted = tuple(f for f in FEATURE_ORDER if f in self.features)
        require(
            bool(wanted) and self.features == wanted,
            f"features in the order {wanted}",
            self.features,
        )
        at: Shape = (len(self.features) * query[0],)
        for layer in self.layers:
            bias = None if layer.bias is None else weights[layer.bias]
            at = linear_shape(at, weights[layer.weight], bias)
            _check_activation(layer, at, weights)
        require(at == (1,), "a last layer with one output", at)
        return query if self.result == "pooled" else keys[:1]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        positions, dim = inputs[1]
        layers = sum(2 * prod(weights[layer.weight]) for layer in self.layers)
        return positions * (layers + 4 * dim)


def _check_activation(layer: AttentionLayer, at: Shape, weights: WeightShapes) -> None:
    needed = {"prelu": ("slope",), "dice": ("slope", "mean", "variance")}.get(layer.activation, ())
    for field in ("slope", "mean", "variance"):
        name = getattr(layer, field)
        require((name is not None) == (field in needed), f"{needed} for {layer.activation}", field)
        if name is not None:
            shapes = (at, (1,)) if layer.activation == "prelu" else (at,)
            require(weights[name] in shapes, f"weight {name!r} of shape {at}", weights[name])


class Recurrence(Op):
    """What GRU and AUGRU share: torch's gate order (reset, update, new) and weight shapes.

    weight_ih (3h, d), weight_hh (3h, h), bias_ih and bias_hh (3h,). The state starts at zero and
    passes masked positions unchanged. result "last": the final state (h,); "sequence": (L, h).
    """

    weight_ih: Name
    weight_hh: Name
    bias_ih: Name | None = None
    bias_hh: Name | None = None
    result: Literal["last", "sequence"] = "last"
    weight_fields: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x = inputs[0]
        require(len(x) == 2, "a sequence of shape (L, d)", x)
        for other in inputs[1:]:
            require(other == x[:1], f"scores and mask of shape {x[:1]}", other)
        hidden = gate_shape(self, x[1:], weights)
        return hidden if self.result == "last" else (x[0], *hidden)

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        hidden = weights[self.weight_hh][1]
        matrices = prod(weights[self.weight_ih]) + prod(weights[self.weight_hh])
        return inputs[0][0] * (2 * matrices + 20 * hidden)


class Gru(Recurrence):
    """GRU over a sequence (Cho 2014, as torch.nn.GRU). inputs (x (L, d)[, mask (L,)])."""

    kind: Literal["gru"] = "gru"
    arity: ClassVar[tuple[int, int]] = (1, 2)


class Augru(Recurrence):
    """DIEN's GRU with attentional update gate (Zhou 2019, eq. 16).

    inputs (x (L, d), scores (L,)[, mask (L,)]); u = score * z; h' = (1 - u) * h + u * n.
    """

    kind: Literal["augru"] = "augru"
    arity: ClassVar[tuple[int, int]] = (2, 3)


class GruCell(Op):
    """One GRU step: inputs (x (d,), h (hidden,)); torch.nn.GRUCell."""

    kind: Literal["gru_cell"] = "gru_cell"
    weight_ih: Name
    weight_hh: Name
    bias_ih: Name | None = None
    bias_hh: Name | None = None
    weight_fields: ClassVar[tuple[str, ...]] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x, h = inputs
        require(len(x) == 1, "an input of shape (d,)", x)
        hidden = gate_shape(self, x, weights)
        require(h == hidden, f"a state of shape {hidden}", h)
        return hidden

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        matrices = prod(weights[self.weight_ih]) + prod(weights[self.weight_hh])
        return 2 * matrices + 20 * output[0]


def gate_shape(op: Recurrence | GruCell, x: Shape, weights: WeightShapes) -> Shape:
    """(hidden,) for inputs x (d,); ModelError unless all gate weights fit."""
    hh = weights[op.weight_hh]
    require(len(hh) == 2 and hh[0] == 3 * hh[1], "weight_hh of shape (3h, h)", hh)
    for bias in (op.bias_ih, op.bias_hh):
        require(bias is None or weights[bias] == hh[:1], f"a bias of shape {hh[:1]}", bias)
    gates = linear_shape(x, weights[op.weight_ih], None)
    require(gates == hh[:1], f"weight_ih with {hh[0]} outputs", gates)
    return (hh[1],)
