"""What the answers of a search depend on, for its journal."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.model import Model
from recstack.precision.budget import Budget
from recstack.tune.quantise.config import QuantiseConfig


def about(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig,
) -> dict[str, Any]:  # fmt: skip
    """What the answers of a search depend on."""
    return {
        "model": _digest_model(model),
        "data": _digest_data(data),
        "metric": metric.name,
        "budget": str(budget),
        "floor": budget.floor,
        "config": config.model_dump(mode="json"),
        "engine": engine.model_dump(mode="json"),
    }


def _digest_model(model: Model) -> str:
    """A digest of the description and of a part of every weight."""
    h = hashlib.blake2b(model.description.model_dump_json().encode(), digest_size=12)
    for name in sorted(model.weights):
        array = model.weights[name]
        flat = array.reshape(-1)
        h.update(f"{name} {array.shape}".encode())
        h.update(np.ascontiguousarray(flat[:: max(flat.size // 4096, 1)]).tobytes())
    return h.hexdigest()


def _digest_data(data: LabelledData) -> str:
    h = hashlib.blake2b(digest_size=12)
    arrays = {**asdict(data.batch), "labels": data.labels, "groups": data.groups}
    for name, array in arrays.items():
        if array is not None:
            h.update(f"{name} {array.shape}".encode())
            h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()
