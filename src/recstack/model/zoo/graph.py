"""A model under construction: inputs, ops and weights, with shapes known as they are laid out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

from recstack.batch import DenseInput, Input, ScopeName, SparseInput
from recstack.model.description import ModelDescription
from recstack.model.ops import Concat, Dice, EmbeddingBag, FeatureOp, Linear, Op, SequenceMask
from recstack.model.ops.base import Shape
from recstack.model.ops.dense import Activation

# Uniform on +-sqrt(gain / fan_in) keeps the variance of a layer's output at that of its input:
# gain 6 before a ReLU (He 2015, section 2.2), 3 otherwise.
GAIN = {"relu": 6.0}
LINEAR_GAIN = 3.0


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """A weight to be filled: its shape, and the range that its values are uniform on."""

    shape: Shape
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Layout:
    """A finished model without its weights."""

    description: ModelDescription
    weights: Mapping[str, WeightSpec]


class Graph:
    """Collects a model; every method that adds something returns its name.

    rows_scale: factor on the rows of every table, rounded, at least `min_rows` (or the unscaled
    rows, where those are fewer).
    """

    def __init__(self, name: str, rows_scale: float = 1.0, min_rows: int = 1) -> None:
        self.name = name
        self.shapes: dict[str, Shape] = {}
        self._rows_scale = rows_scale
        self._min_rows = min_rows
        self._inputs: list[Input] = []
        self._features: dict[str, SparseInput] = {}
        self._ops: list[Any] = []
        self._weights: dict[str, WeightSpec] = {}
        self._weight_shapes: dict[str, Shape] = {}

    def dense(self, name: str, width: int, scope: ScopeName = "item") -> str:
        """Add a dense input."""
        self._inputs.append(DenseInput(name=name, width=width, scope=scope))
        self.shapes[name] = (width,)
        return name

    def sparse(self, name: str, length: int, scope: ScopeName = "item", fixed: bool = False) -> str:
        """Add a sparse input."""
        item = SparseInput(name=name, length=length, scope=scope, fixed=fixed)
        self._inputs.append(item)
        self._features[name] = item
        return name

    def weight(self, name: str, shape: Shape, low: float, high: float) -> str:
        """Add a weight, uniform on [low, high]."""
        self._weights[name] = WeightSpec(shape, low, high)
        self._weight_shapes[name] = shape
        return name

    def table(self, name: str, rows: int, dim: int) -> str:
        """Add an embedding table, uniform on +-1/sqrt(dim), its rows scaled."""
        scaled = max(round(rows * self._rows_scale), min(rows, self._min_rows))
        return self.weight(name, (scaled, dim), -1 / sqrt(dim), 1 / sqrt(dim))

    def add(self, op: Op) -> str:
        """Add an op; its shape is inferred at once."""
        weights = self._weight_shapes
        if isinstance(op, FeatureOp):
            shape = op.feature_shape(self._features[op.inputs[0]], weights)
        else:
            shape = op.shape([self.shapes[name] for name in op.inputs], weights)
        self._ops.append(op)
        self.shapes[op.output] = shape
        return op.output

    def bag(
        self, name: str, feature: str, table: str, pooling: Literal["sum", "none"] = "sum"
    ) -> str:
        """Add the lookup of `feature` in `table`."""
        return self.add(EmbeddingBag(output=name, inputs=(feature,), table=table, pooling=pooling))

    def mask(self, name: str, feature: str) -> str:
        """Add the mask of a sequence."""
        return self.add(SequenceMask(output=name, inputs=(feature,)))

    def concat(self, name: str, *values: str) -> str:
        """Add the values side by side."""
        return self.add(Concat(output=name, inputs=values))

    def matrix(
        self, name: str, outputs: int, inputs: int, activation: str = "none", scale: float = 1.0
    ) -> str:
        """Add a weight (outputs, inputs), scaled for the activation that follows."""
        bound = scale * sqrt(GAIN.get(activation, LINEAR_GAIN) / inputs)
        return self.weight(name, (outputs, inputs), -bound, bound)

    def linear(
        self,
        name: str,
        x: str,
        width: int,
        activation: Activation = "none",
        scale: float = 1.0,
    ) -> str:
        """Add a fully connected layer with its weight and bias, both `scale` times the usual."""
        fan_in = self.shapes[x][-1]
        weight = self.matrix(f"{name}.weight", width, fan_in, activation, scale)
        bound = scale / sqrt(fan_in)
        bias = self.weight(f"{name}.bias", (width,), -bound, bound)
        return self.add(
            Linear(output=name, inputs=(x,), weight=weight, bias=bias, activation=activation)
        )

    def mlp(self, name: str, x: str, widths: tuple[int, ...], last: Activation = "relu") -> str:
        """Add layers of `widths`, ReLU between them and `last` after them."""
        for i, width in enumerate(widths):
            x = self.linear(f"{name}.{i}", x, width, last if i == len(widths) - 1 else "relu")
        return x

    def dice_mlp(self, name: str, x: str, widths: tuple[int, ...]) -> str:
        """Add layers of `widths` with Dice between them and nothing after them."""
        for i, width in enumerate(widths):
            x = self.linear(f"{name}.{i}", x, width)
            if i < len(widths) - 1:
                alpha, mean, variance = self.dice_weights(f"{name}.{i}.dice", width)
                x = self.add(
                    Dice(
                        output=f"{name}.{i}.dice",
                        inputs=(x,),
                        alpha=alpha,
                        mean=mean,
                        variance=variance,
                    )
                )
        return x

    def dice_weights(self, name: str, width: int) -> tuple[str, str, str]:
        """Add a Dice's alpha, mean and variance, as large as the values that they normalise."""
        return (
            self.weight(f"{name}.alpha", (width,), 0.0, 0.5),
            self.weight(f"{name}.mean", (width,), -0.1, 0.1),
            self.weight(f"{name}.variance", (width,), 0.01, 0.05),
        )

    def finish(self, outputs: tuple[str, ...]) -> Layout:
        """The model laid out so far, with these values as its scores."""
        description = ModelDescription(
            name=self.name, inputs=tuple(self._inputs), ops=tuple(self._ops), outputs=outputs
        )
        return Layout(description, dict(self._weights))
