"""Static activation ranges of int8 layers: found on traffic, and whether they still fit it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recstack.batch import Batch
from recstack.engine import EngineConfig
from recstack.engine.precision import (
    ActivationRange,
    LayerPlan,
    LayerPrecision,
    layer_input,
    layer_inputs,
)
from recstack.model import Model
from recstack.precision.inside import Inside, Values
from recstack.precision.observer import STEPS, HistogramObserver


def calibrate(
    model: Model,
    layers: Mapping[str, LayerPrecision],
    batches: Iterable[Batch],
    config: EngineConfig | None = None,
) -> dict[str, LayerPrecision]:
    """`layers`, those in int8 with the range that quantises their inputs on `batches` best.

    Outlier columns, which stay fp32, do not count. A layer that read nothing but zeros keeps what
    it has. config: of the engine that makes the inputs; fp32 where None.
    """
    wanted = {name: p for name, p in layers.items() if p.format == "int8"}
    reads = {name: layer_input(model, name) for name in wanted}
    observers = {name: HistogramObserver() for name in wanted}
    inside = Inside(model, reads.values(), config)
    for batch in batches if wanted else ():
        _, values = inside.run(batch)
        for name, observer in observers.items():
            observer.add(_inliers(model, name, wanted[name], values[reads[name]]))
    found = {
        name: replace(wanted[name], activations=observer.best())
        for name, observer in observers.items()
        if observer.low < observer.high
    }
    return {**layers, **found}


def with_ranges(
    model: Model, plan: LayerPlan, batches: Iterable[Batch], config: EngineConfig | None = None
) -> LayerPlan:
    """`plan` with a fresh range for every layer that it gives a static one."""
    static = {name: plan.layers[name] for name in static_ranges(plan)}
    return replace(plan, layers={**plan.layers, **calibrate(model, static, batches, config)})


def static_ranges(plan: LayerPlan) -> dict[str, ActivationRange]:
    """By layer, the ranges that are fixed beforehand."""
    return {n: p.activations for n, p in plan.layers.items() if p.activations is not None}


def clipping(model: Model, plan: LayerPlan, values: Values) -> float:
    """The worst layer's squared error past the ends of its static range over that of its steps.

    values: what the layers read, by name. 0.0 where no layer has a range.
    """
    worst = 0.0
    for name, given in static_ranges(plan).items():
        x = _inliers(model, name, plan.layers[name], values[layer_input(model, name)])
        low, high = min(given.low, 0.0), max(given.high, 0.0)
        if not x.size or low == high:
            continue
        past = np.square(x - np.clip(x, low, high), dtype=np.float64).mean()
        worst = max(worst, float(past) / (((high - low) / STEPS) ** 2 / 12))
    return worst


def _inliers(
    model: Model, layer: str, precision: LayerPrecision, values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """A layer's input without its outlier columns."""
    if not precision.outliers:
        return values
    columns = values.reshape(-1, layer_inputs(model, layer))
    return np.delete(columns, list(precision.outliers), axis=1)
