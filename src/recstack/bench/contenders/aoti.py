"""AOTInductor: the module compiled ahead of time, run through its loader without Python's wrap."""

from __future__ import annotations

import secrets
from typing import Any

import torch

from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.compiled import OPTIONS, artifact, compiling
from recstack.bench.contenders.torch_form import TorchPeer
from recstack.data import random_batch
from recstack.model import Model


class Aoti(TorchPeer):
    """Freezing and max-autotune; the package is kept in the cache."""

    name = "AOTInductor"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        example = self.stage(random_batch(model, setting.rows))
        self._loader = loader("aoti", self.module, example, model, setting)

    def run(self, staged: Any) -> Any:
        """One call of the loader; a list of the scores."""
        return self._loader.run(staged)


def loader(
    what: str, module: torch.nn.Module, example: list[Any], model: Model, setting: Setting
) -> Any:
    """The loaded package of `module`, compiled unless the cache has it."""
    path = artifact(what, model, setting)
    with compiling(setting):
        if not path.exists() and not setting.may_compile:
            raise Unsupported("not compiled yet, and compiling was not wanted")
        if not path.exists():
            program = torch.export.export(module, tuple(example))
            partial = path.with_name(f"{secrets.token_hex(4)}.pt2")
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(partial), inductor_configs=OPTIONS
            )
            partial.rename(path)
        return torch._inductor.aoti_load_package(str(path)).loader
