"""How models are computed: the native engine, its NumPy twin, torch, and stand-ins."""

from recstack.engine.config import EngineConfig, instruction_sets
from recstack.engine.hybrid import HybridEngine, OpaqueWarning
from recstack.engine.native import Engine
from recstack.engine.precision import (
    ActivationRange,
    DenseFormat,
    LayerPlan,
    LayerPrecision,
    quantisable,
)
from recstack.model import Model
from recstack.model.ops import Opaque

__all__ = [
    "ActivationRange",
    "DenseFormat",
    "Engine",
    "EngineConfig",
    "HybridEngine",
    "LayerPlan",
    "LayerPrecision",
    "OpaqueWarning",
    "compile",
    "instruction_sets",
    "quantisable",
]


def compile(model: Model, config: EngineConfig | None = None) -> Engine | HybridEngine:
    """An engine for `model`: kernels chosen, weights packed, buffers placed.

    A model with opaque ops gives a HybridEngine, with a warning that names them. Raises ConfigError
    for an instruction set that is unknown or that this processor lacks.
    """
    config = config or EngineConfig()
    if any(isinstance(op, Opaque) for op in model.ops):
        return HybridEngine(model, config)
    return Engine(model, config)
