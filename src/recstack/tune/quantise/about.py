"""What the answers of a search depend on, for its journal."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from recstack import results
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.engine.config import choose_isa
from recstack.model import Model
from recstack.model.digest import model_digest
from recstack.precision.budget import Budget
from recstack.tune.about import native_build
from recstack.tune.quantise.config import QuantiseConfig


def about(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig,
) -> dict[str, Any]:  # fmt: skip
    """What the answers of a search depend on: inputs to the last bit, code and processor."""
    machine = results.fingerprint()
    return {
        "recstack": machine.recstack,
        "native": native_build(),
        "cpu": machine.cpu,
        "isa": choose_isa(engine.isa),
        "model": model_digest(model),
        "data": _digest_data(data),
        "metric": metric.name,
        "metric_source": _digest(metric.source.encode()),
        "budget": str(budget),
        "floor": budget.floor,
        "config": config.model_dump(mode="json"),
        "engine": engine.model_dump(mode="json"),
    }


def _digest_data(data: LabelledData) -> str:
    h = hashlib.blake2b(b"closed" if data.closed else b"", digest_size=12)
    arrays = {**asdict(data.batch), "labels": data.labels, "groups": data.groups}
    for name, array in arrays.items():
        if array is not None:
            h.update(f"{name} {array.shape}".encode())
            h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
