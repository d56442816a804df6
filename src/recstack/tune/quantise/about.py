"""What the answers of a search depend on, for its journal."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack import _native, results
from recstack.data.labelled import LabelledData
from recstack.data.paired_metrics import Metric
from recstack.engine import EngineConfig
from recstack.engine.config import choose_isa
from recstack.model import Model
from recstack.model.mapped import MappedWeights
from recstack.precision.budget import Budget
from recstack.tune.quantise.config import QuantiseConfig

PIECE_BYTES = 16 << 20


def about(
    model: Model, data: LabelledData, metric: Metric, budget: Budget, config: QuantiseConfig,
    engine: EngineConfig,
) -> dict[str, Any]:  # fmt: skip
    """What the answers of a search depend on: inputs to the last bit, code and processor."""
    machine = results.fingerprint()
    return {
        "recstack": machine.recstack,
        "native": _digest_native(),
        "cpu": machine.cpu,
        "isa": choose_isa(engine.isa),
        "model": _digest_model(model),
        "data": _digest_data(data),
        "metric": metric.name,
        "metric_source": _digest(metric.source.encode()),
        "budget": str(budget),
        "floor": budget.floor,
        "config": config.model_dump(mode="json"),
        "engine": engine.model_dump(mode="json"),
    }


def _digest_model(model: Model) -> str:
    return _digest_arrays(model.description.model_dump_json(), model.weights)


def _digest_data(data: LabelledData) -> str:
    return _digest_arrays("", {**asdict(data.batch), "labels": data.labels, "groups": data.groups})


@cache
def _digest_native() -> str:
    """Of the extension's file: other kernels round otherwise."""
    return _digest(Path(_native.__file__).read_bytes())


def _digest_arrays(about: str, arrays: Mapping[str, NDArray[Any] | None]) -> str:
    """A digest of every byte, made in pieces by all cores."""
    h = hashlib.blake2b(about.encode(), digest_size=12)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for name in sorted(arrays):
            if (array := arrays[name]) is None:
                continue
            h.update(f"{name} {array.shape} {array.dtype}".encode())
            raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
            pieces = (raw[at : at + PIECE_BYTES] for at in range(0, len(raw), PIECE_BYTES))
            for digest in pool.map(_digest, pieces):
                h.update(digest.encode())
            if isinstance(arrays, MappedWeights):
                arrays.drop([name])
    return h.hexdigest()


def _digest(data: bytes | memoryview) -> str:
    return hashlib.blake2b(data, digest_size=12).hexdigest()
