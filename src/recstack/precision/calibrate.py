"""Static activation ranges of int8 layers, from what data make of the layers' inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from recstack.data.labelled import LabelledData
from recstack.engine import EngineConfig
from recstack.engine.precision import LayerPlan, LayerPrecision, layer_inputs
from recstack.model import Model
from recstack.precision.observer import HistogramObserver
from recstack.precision.values import input_of, values_of

CHUNK_ROWS = 4096


def calibrate(
    model: Model,
    layers: Mapping[str, LayerPrecision],
    data: LabelledData,
    config: EngineConfig | None = None,
) -> dict[str, LayerPrecision]:
    """`layers`, those in int8 with the range that quantises their inputs on `data` best.

    Outlier columns, which stay fp32, do not count. config: of the engine that makes the inputs;
    fp32 where None. Labels are not read.
    """
    wanted = {name: p for name, p in layers.items() if p.format == "int8"}
    reads = {name: input_of(model, name) for name in wanted}
    observers = {name: HistogramObserver() for name in wanted}
    for part in data.chunks(CHUNK_ROWS) if wanted else ():
        values = values_of(model, list(dict.fromkeys(reads.values())), part, config)
        for name, observer in observers.items():
            width = layer_inputs(model, name)
            kept = np.setdiff1d(np.arange(width), wanted[name].outliers)
            observer.add(values[reads[name]].reshape(-1, width)[:, kept])
    found = {n: replace(p, activations=observers[n].best()) for n, p in wanted.items()}
    return {**layers, **found}


def with_ranges(
    model: Model, plan: LayerPlan, data: LabelledData, config: EngineConfig | None = None
) -> LayerPlan:
    """`plan` with a fresh range for every layer that it gives a static one."""
    static = {n: p for n, p in plan.layers.items() if p.activations is not None}
    return replace(plan, layers={**plan.layers, **calibrate(model, static, data, config)})
