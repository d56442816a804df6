"""Dense recommendation ops: layers, interactions, normalisations."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar, Literal

from pydantic import Field

from recstack.model.ops.base import Name, Op, Shape, WeightShapes, axis_of, require

Activation = Literal["none", "relu", "sigmoid", "tanh"]


def linear_shape(x: Shape, weight: Shape, bias: Shape | None) -> Shape:
    """Shape of x (..., in) through weight (out, in) and bias (out,)."""
    require(len(weight) == 2, "a weight of shape (out, in)", weight)
    require(bool(x) and x[-1] == weight[1], f"an input of width {weight[1]}", x)
    require(bias is None or bias == weight[:1], f"a bias of shape {weight[:1]}", bias)
    return (*x[:-1], weight[0])


class Linear(Op):
    """activation(x @ weight.T + bias) over the last axis; weight (out, in), bias (out,)."""

    kind: Literal["linear"] = "linear"
    weight: Name
    bias: Name | None = None
    activation: Activation = "none"
    weight_fields: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        return linear_shape(inputs[0], weights[self.weight], _opt(weights, self.bias))

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 2 * prod(inputs[0]) * output[-1]


class DotInteraction(Op):
    """Dot products of all pairs of the F vectors of x (F, d).

    order lower: pairs (1,0) (2,0) (2,1) ...; upper: (0,1) (0,2) ... (1,2) ...; `self_pairs` keeps
    the diagonal in its row-major place. Result (F * (F - 1) / 2,) or (F * (F + 1) / 2,).
    """

    kind: Literal["dot_interaction"] = "dot_interaction"
    order: Literal["lower", "upper"] = "lower"
    self_pairs: bool = False

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        require(len(inputs[0]) == 2, "vectors of shape (F, d)", inputs[0])
        n = inputs[0][0]
        return (n * (n + 1) // 2 if self.self_pairs else n * (n - 1) // 2,)

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 2 * output[0] * inputs[0][1]


class Cross(Op):
    """DCNv2 cross layer (Wang 2021): x0 * (weight_u @ (weight_v @ x) + bias) + x.

    inputs (x0, x), both (n,); weight_v (r, n), weight_u (n, r), bias (n,). Without weight_v the
    layer has full rank: weight_u (n, n).
    """

    kind: Literal["cross"] = "cross"
    weight_v: Name | None = None
    weight_u: Name
    bias: Name | None = None
    weight_fields: ClassVar[tuple[str, ...]] = ("weight_v", "weight_u", "bias")
    arity: ClassVar[tuple[int, int]] = (2, 2)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        x0, x = inputs
        require(x0 == x and len(x) == 1, "two inputs of one shape (n,)", inputs)
        hidden = x if self.weight_v is None else linear_shape(x, weights[self.weight_v], None)
        out = linear_shape(hidden, weights[self.weight_u], _opt(weights, self.bias))
        require(out == x, f"weights that give {x}", out)
        return x

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        matrices = [w for w in (self.weight_v, self.weight_u) if w is not None]
        return sum(2 * prod(weights[w]) for w in matrices) + 2 * output[0]


class LayerNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias over the last axis (n,)."""

    kind: Literal["layer_norm"] = "layer_norm"
    weight: Name | None = None
    bias: Name | None = None
    eps: float = Field(default=1e-5, ge=0)
    weight_fields: ClassVar[tuple[str, ...]] = ("weight", "bias")

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        require(bool(inputs[0]), "an input with at least one axis", inputs[0])
        _require_vectors(self.weights(), weights, inputs[0][-1])
        return inputs[0]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 7 * prod(output)


class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias, per channel of `axis`, at inference."""

    kind: Literal["batch_norm"] = "batch_norm"
    mean: Name
    variance: Name
    weight: Name | None = None
    bias: Name | None = None
    eps: float = Field(default=1e-5, ge=0)
    axis: int = -1
    weight_fields: ClassVar[tuple[str, ...]] = ("mean", "variance", "weight", "bias")

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        axis = axis_of(self.axis, len(inputs[0]))
        _require_vectors(self.weights(), weights, inputs[0][axis])
        return inputs[0]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 2 * prod(output)


class Prelu(Op):
    """x where x > 0, else slope * x; slope (1,) or one per channel of `axis`."""

    kind: Literal["prelu"] = "prelu"
    slope: Name
    axis: int = -1
    weight_fields: ClassVar[tuple[str, ...]] = ("slope",)

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        slope = weights[self.slope]
        channels = inputs[0][axis_of(self.axis, len(inputs[0]))] if inputs[0] else 1
        require(slope in ((1,), (channels,)), f"a slope of shape (1,) or ({channels},)", slope)
        return inputs[0]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 2 * prod(output)


class Dice(Op):
    """DIN's Dice (Zhou 2018, eq. 3): p = sigmoid((x - mean) / sqrt(variance + eps));
    x * (p + alpha * (1 - p)); all weights (n,) along the last axis.
    """

    kind: Literal["dice"] = "dice"
    alpha: Name
    mean: Name
    variance: Name
    eps: float = Field(default=1e-8, ge=0)
    weight_fields: ClassVar[tuple[str, ...]] = ("alpha", "mean", "variance")

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        require(bool(inputs[0]), "an input with at least one axis", inputs[0])
        _require_vectors(self.weights(), weights, inputs[0][-1])
        return inputs[0]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 10 * prod(output)


class Softmax(Op):
    """exp(x - max) / sum along `axis`."""

    kind: Literal["softmax"] = "softmax"
    axis: int = -1

    def shape(self, inputs: Sequence[Shape], weights: WeightShapes) -> Shape:
        axis_of(self.axis, len(inputs[0]))
        return inputs[0]

    def flops(self, inputs: Sequence[Shape], output: Shape, weights: WeightShapes) -> int:
        return 5 * prod(output)


def _opt(weights: WeightShapes, name: str | None) -> Shape | None:
    return None if name is None else weights[name]


def _require_vectors(names: Sequence[str], weights: WeightShapes, n: int) -> None:
    for name in names:
        require(weights[name] == (n,), f"weight {name!r} of shape ({n},)", weights[name])
