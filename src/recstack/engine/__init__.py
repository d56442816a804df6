"""How models are computed: the native engine, its NumPy twin, torch, and stand-ins.

Executors, all of which `run(batch) -> scores`:

    native, hybrid     `compile(model, EngineConfig(...))`; hybrid where torch must run some ops
    torch_executor     `compile(model, DeviceConfig(...))`: a whole model on a GPU, or on the CPU
    reference          the NumPy twin that says what is right
    table, null        only take time; do nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, overload

from recstack.engine.config import EngineConfig, instruction_sets
from recstack.engine.device import DeviceConfig
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

if TYPE_CHECKING:
    from recstack.engine.torch_executor import GraphExecutor

__all__ = [
    "ActivationRange",
    "DenseFormat",
    "DeviceConfig",
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


@overload
def compile(model: Model, config: EngineConfig | None = None) -> Engine | HybridEngine: ...
@overload
def compile(model: Model, config: DeviceConfig) -> GraphExecutor: ...
def compile(
    model: Model, config: EngineConfig | DeviceConfig | None = None
) -> Engine | HybridEngine | GraphExecutor:
    """An engine for `model`: kernels chosen, weights packed, buffers placed.

    A DeviceConfig gives the torch executor on its device, which needs the extra "torch". Else a
    model with opaque ops gives a HybridEngine, with a warning that names them. Raises ConfigError
    for an instruction set that is unknown or that this processor lacks, or a device that is absent.
    """
    if isinstance(config, DeviceConfig):
        from recstack.engine.torch_executor import GraphExecutor

        return GraphExecutor(model, config)
    config = config or EngineConfig()
    if any(isinstance(op, Opaque) for op in model.ops):
        return HybridEngine(model, config)
    return Engine(model, config)
