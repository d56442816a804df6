"""torch eager: fused embedding calls, weights as torch wants them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch

from recstack.batch import Batch
from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.torch_form import TorchPeer, check_isa, torch_turn
from recstack.engine.torch_executor import TorchExecutor
from recstack.model import Model
from recstack.types import Scores


def torch_eager(model: Model, setting: Setting) -> TorchEager | TorchOfAnyModel:
    """The straight-line form of a model that has one, else the executor of any model."""
    try:
        return TorchEager(model, setting)
    except Unsupported:
        return TorchOfAnyModel(model, setting)


class TorchEager(TorchPeer):
    """What a careful user writes by hand: one fused lookup, straight-line code."""

    name = "torch eager"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        self._forward = self.module.forward

    def run(self, staged: Any) -> Any:
        """One call of the module's code."""
        return self._forward(*staged)


class TorchOfAnyModel:
    """recstack's torch executor: bags of every kind, sequences, the user's part once per query.

    Batches are staged before the clock starts. Fused tables are a second copy.
    """

    name = "torch eager, user's part once"

    def __init__(self, model: Model, setting: Setting) -> None:
        check_isa(setting.isa)
        self._threads = setting.threads
        self._executor = TorchExecutor(model, fuse_tables=True, check=False)

    def version(self) -> str:
        """torch's version."""
        return str(torch.__version__)

    def stage(self, batch: Batch) -> Any:
        """Indices, offsets and dense columns as tensors."""
        return self._executor.stage(batch)

    def run(self, staged: Any) -> Any:
        """All that torch computes."""
        return self._executor.compute(staged)

    def scores(self, result: Any) -> Scores:
        """The tensor's memory."""
        array: Scores = result.numpy()
        return array

    def turn(self) -> ExitStack:
        """As `torch_turn`."""
        return torch_turn(self._threads)
