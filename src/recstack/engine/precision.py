"""The precision plan of dense layers: which weight format each layer is computed in.

A layer is one op of the model, named by its output: a linear, a cross layer, a GRU, AUGRU or GRU
cell (both projections), an attention unit (all its layers). Ops that read the same weight, as the
steps of an unrolled RNN do, are one layer and carry the name of the first of them. Names are those
of the model as given: what the planner fuses, folds or splits keeps the precision of its layer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Literal, get_args

from recstack.errors import ConfigError
from recstack.model import Model
from recstack.model.ops import AttentionPooling, Augru, Cross, Gru, GruCell, Linear, Op

DenseFormat = Literal["fp32", "bf16", "fp16", "int8"]
FORMATS: tuple[DenseFormat, ...] = get_args(DenseFormat)
# The weight that a layer's input meets first; ops that share it are one layer.
_LAYERS: dict[type[Op], str] = {
    Linear: "weight", Cross: "weight_u", Gru: "weight_ih", Augru: "weight_ih",
    GruCell: "weight_ih", AttentionPooling: "layers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class ActivationRange:
    """What a layer's input is quantised over, found beforehand on data; values past it saturate."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low <= self.high):
            raise ConfigError(
                f"expected a finite range low <= high, got [{self.low}, {self.high}]"
                " - at `ActivationRange`"
            )


@dataclass(frozen=True, slots=True)
class LayerPrecision:
    """How one layer is computed.

    format: fp32; bf16, weights and inputs rounded; fp16, weights rounded, inputs fp32; int8, both
        quantised. Sums are fp32 (int8: exact int32), bias and activation fp32.
    activations: int8 only. The input's range; None finds it anew for every row (decision 010).
    outliers: int8 only. Input columns, ascending, that are multiplied in fp32 beside the others.
        Both are of the layer's own input (`layer_input`; of an attention unit the keys); products
        inside a layer (a low-rank cross's second, a cell's with its state, a unit's of the query
        and of its later layers) find their ranges themselves.
    """

    format: DenseFormat = "fp32"
    activations: ActivationRange | None = None
    outliers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ConfigError(
                f"expected one of {', '.join(FORMATS)}, got {self.format!r}"
                " - at `LayerPrecision.format`"
            )
        if self.format != "int8" and (self.activations is not None or self.outliers):
            raise ConfigError(
                f"expected activation range and outliers with int8 only, got format {self.format}"
                " - at `LayerPrecision`"
            )
        ascending = all(a < b for a, b in zip(self.outliers, self.outliers[1:], strict=False))
        if not ascending or any(column < 0 for column in self.outliers):
            raise ConfigError(
                f"expected ascending columns, got {self.outliers} - at `LayerPrecision.outliers`"
            )

    def of_columns(self, columns: Sequence[int]) -> LayerPrecision:
        """Of the part of the layer that reads these columns of its input, ascending, alone."""
        outliers = tuple(columns.index(o) for o in self.outliers if o in columns)
        return replace(self, outliers=outliers)

    def of_inner(self) -> LayerPrecision:
        """Of a product inside the layer, whose input is not the layer's: same format, no more."""
        return LayerPrecision(self.format)


FP32 = LayerPrecision()


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """A precision for every layer: `layers` by name, `default` for those that it does not name.

    A default is taken as far as it goes: of `activations` and `outliers` only named layers may
    have any.

    >>> plan = LayerPlan(LayerPrecision("bf16"), {"top.2": LayerPrecision("fp32")})
    >>> plan.layers["top.2"].format
    'fp32'
    """

    default: LayerPrecision = FP32
    layers: Mapping[str, LayerPrecision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.default.activations is not None or self.default.outliers:
            raise ConfigError(
                "expected activation range and outliers per layer, got a default with them"
                " - at `LayerPlan.default`"
            )

    def __hash__(self) -> int:
        return hash((self.default, tuple(sorted(self.layers.items(), key=lambda item: item[0]))))


def quantisable(model: Model) -> tuple[str, ...]:
    """Names of the layers that a LayerPlan for `model` may name, in the model's order.

    >>> import recstack as rs
    >>> quantisable(rs.zoo.build("ncf", rows_scale=0.001))[0]
    'mlp.0'
    """
    return tuple(dict.fromkeys(layer_names(model).values()))


def layer_names(model: Model) -> dict[str, str]:
    """Output of every op that is (part of) a layer -> the layer's name."""
    first: dict[str, str] = {}
    return {
        op.output: first.setdefault(_weight(op), op.output)
        for op in model.ops
        if type(op) in _LAYERS and model.values[op.output].scope != "const"
    }


def layer_input(model: Model, name: str) -> str:
    """The value that the layer `name` quantises: ranges and outliers are of it."""
    op = next(op for op in model.ops if op.output == name)
    return op.inputs[1 if isinstance(op, Cross | AttentionPooling) else 0]


def layer_inputs(model: Model, name: str) -> int:
    """Width of the input of the layer `name`: outliers are columns below it."""
    return model.values[layer_input(model, name)].shape[-1]


def check_plan(plan: DenseFormat | LayerPlan, model: Model) -> dict[str, LayerPrecision]:
    """The precision of every layer of `model` by name.

    Raises ConfigError for a name that is no layer of it, for an outlier column that its input does
    not have, and for a layer whose kind has no such kernel.
    """
    if not isinstance(plan, LayerPlan):
        plan = LayerPlan(LayerPrecision(plan))
    names, known = layer_names(model), quantisable(model)
    for name, precision in plan.layers.items():
        where = f" - at `EngineConfig.precision.layers[{name!r}]`"
        if name not in names:
            raise ConfigError(f"expected a layer of {model.name!r} ({_some(known)}){where}")
        if names[name] != name:
            raise ConfigError(f"{name!r} shares its weight with {names[name]!r}: name that{where}")
        width = layer_inputs(model, name)
        if precision.outliers and precision.outliers[-1] >= width:
            raise ConfigError(
                f"expected outlier columns below {width}, got {precision.outliers[-1]}{where}"
            )
    return {name: plan.layers.get(name, plan.default) for name in known}


def part_of_plan(chosen: Mapping[str, LayerPrecision], whole: Model, part: Model) -> LayerPlan:
    """What `chosen` for the layers of `whole` says of a model made of some of its ops."""
    names = layer_names(whole)
    return LayerPlan(FP32, {name: chosen[names[name]] for name in quantisable(part)})


def _weight(op: Op) -> str:
    if isinstance(op, AttentionPooling):
        return op.layers[0].weight
    return str(getattr(op, _LAYERS[type(op)]))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
