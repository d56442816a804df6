"""A model's scores in fp32, and what its layers read on the way to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.engine import EngineConfig, compile
from recstack.engine.precision import ActivationRange, LayerPlan, LayerPrecision
from recstack.model import Model
from recstack.model.model import build
from recstack.precision.observer import STEPS, HistogramObserver
from recstack.precision.values import input_of
from recstack.types import Scores


class Inside:
    """An fp32 engine that also gives the inputs of `layers`.

    model: with its tables in fp32. config: of the engine, but for the precision.
    """

    def __init__(
        self, model: Model, layers: Iterable[str], config: EngineConfig | None = None
    ) -> None:
        self._read = {layer: input_of(model, layer) for layer in layers}
        names = list(dict.fromkeys([*model.outputs, *self._read.values()]))
        changed = model.description.model_copy(update={"outputs": tuple(names), "arguments": ()})
        fp32 = (config or EngineConfig()).model_copy(update={"precision": "fp32"})
        self._engine = compile(build(changed, model.weights), fp32)
        ends = np.cumsum([0, *(model.values[name].elements for name in names)]).tolist()
        self._columns = {n: slice(a, b) for n, (a, b) in zip(names, pairwise(ends), strict=True)}
        self._outputs = model.outputs

    def run(self, batch: Batch) -> tuple[Scores, dict[str, NDArray[np.float32]]]:
        """Scores (rows, outputs), and by layer its input for every row, (rows, elements)."""
        whole = self._engine.run(batch)
        scores = np.concatenate([whole[:, self._columns[n]] for n in self._outputs], axis=1)
        return scores, {layer: whole[:, self._columns[n]] for layer, n in self._read.items()}


def static_layers(plan: LayerPlan) -> dict[str, ActivationRange]:
    """The layers of a plan whose input has a range fixed beforehand."""
    return {n: p.activations for n, p in plan.layers.items() if p.activations is not None}


def clipping(inputs: Mapping[str, NDArray[np.float32]], plan: LayerPlan, model: Model) -> float:
    """The worst layer's squared error by its static range's ends over that by its steps.

    0.0 where no layer has a range. Outlier columns, which the range does not hold, do not count.
    """
    worst = 0.0
    for name, given in static_layers(plan).items():
        x = _without(inputs[name], plan.layers[name].outliers, model, name)
        low, high = min(given.low, 0.0), max(given.high, 0.0)
        if not x.size or low == high:
            continue
        past = np.square(x - np.clip(x, low, high), dtype=np.float64).mean()
        worst = max(worst, float(past) / (((high - low) / STEPS) ** 2 / 12))
    return worst


def calibrated(
    plan: LayerPlan, model: Model, batches: Iterable[Batch], *, static: bool = False
) -> LayerPlan:
    """`plan` with the ranges that quantise what the layers read for `batches` best.

    model: in fp32. static: give every int8 layer a range, not only those that have one. A layer
    that read nothing finite but zeros keeps what it has.
    """
    wanted = {
        name: precision
        for name, precision in plan.layers.items()
        if precision.activations is not None or (static and precision.format == "int8")
    }
    inside = Inside(model, wanted)
    observers = {name: HistogramObserver() for name in wanted}
    for batch in batches:
        _, inputs = inside.run(batch)
        for name, observer in observers.items():
            observer.add(_without(inputs[name], wanted[name].outliers, model, name))
    changed = {
        name: LayerPrecision("int8", observer.best(), wanted[name].outliers)
        for name, observer in observers.items()
        if observer.low < observer.high
    }
    return LayerPlan(plan.default, {**plan.layers, **changed})


def _without(
    values: NDArray[np.float32], columns: tuple[int, ...], model: Model, layer: str
) -> NDArray[np.float32]:
    """A layer's input without its outlier columns, which the range does not hold."""
    if not columns:
        return values
    width = model.values[input_of(model, layer)].shape[-1]
    return np.delete(values.reshape(-1, width), list(columns), axis=1)
