"""torch.compile: inductor with freezing and max-autotune, fixed shapes."""

from __future__ import annotations

from typing import Any

import torch

from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.compiled import OPTIONS, compiling
from recstack.bench.contenders.torch_form import TorchPeer
from recstack.data import random_batch
from recstack.model import Model


class TorchCompile(TorchPeer):
    """Compiled in the process that runs it; kernels and their choice come from inductor's cache.

    Guards are skipped once warm: every batch has the same shapes.
    """

    name = "torch.compile"

    def __init__(self, model: Model, setting: Setting) -> None:
        if not setting.may_compile:
            raise Unsupported("it compiles in every process, and compiling was not wanted")
        super().__init__(model, setting)
        staged = [self.stage(random_batch(model, setting.rows, seed)) for seed in (0, 1)]
        with compiling(setting):
            torch._dynamo.reset()
            self._compiled = torch.compile(
                self.module.forward, options={**OPTIONS, "size_asserts": False}, dynamic=False
            )
            with super().turn():
                for inputs in (*staged, staged[0]):
                    self._compiled(*inputs)

    def run(self, staged: Any) -> Any:
        """One call of the compiled module."""
        return self._compiled(*staged)

    def turn(self) -> Any:
        """As for torch, with guards skipped."""
        stack = super().turn()
        stack.enter_context(torch.compiler.set_stance(skip_guard_eval_unsafe=True))
        return stack
