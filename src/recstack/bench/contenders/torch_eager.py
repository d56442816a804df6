"""torch eager: one fused embedding call, weights as torch wants them, straight-line code."""

from __future__ import annotations

from typing import Any

from recstack.bench.contender import Setting
from recstack.bench.contenders.torch_form import TorchPeer
from recstack.model import Model


class TorchEager(TorchPeer):
    """What a careful user writes by hand."""

    name = "torch eager"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self._forward = self.module.forward

    def run(self, staged: Any) -> Any:
        """One call of the module's code."""
        return self._forward(*staged)
