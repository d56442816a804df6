"""AOTInductor: the module compiled ahead of time, run through its loader without Python's wrap."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import torch

from recstack.bench.contender import Setting, Unsupported
from recstack.bench.contenders.compiled import OPTIONS, artifact, compiling
from recstack.bench.contenders.torch_form import TorchPeer, names_of
from recstack.data import random_batch
from recstack.model import Model


class Aoti(TorchPeer):
    """Freezing and max-autotune; the package is kept in the cache."""

    name = "AOTInductor"

    def __init__(self, model: Model, setting: Setting) -> None:
        super().__init__(model, setting)
        example = self.stage(random_batch(model, setting.rows))
        tables = tuple(name.startswith("table") for name in names_of(self.form))
        self._loader = loader("aoti", self.module, example, tables, model, setting)

    def run(self, staged: Any) -> Any:
        """One call of the loader; a list of the scores."""
        return self._loader.run(staged)


def loader(
    what: str,
    module: torch.nn.Module,
    example: Sequence[Any],
    tables: Sequence[bool],
    model: Model,
    setting: Setting,
) -> Any:
    """The loaded package of `module`, compiled unless the cache has it.

    example: its inputs. tables: which of them are tables; their rows are left open, so that one
        package serves tables of any size.
    """
    path = artifact(what, model, setting)
    with compiling(setting):
        if not path.exists() and not setting.may_compile:
            raise Unsupported("not compiled yet, and compiling was not wanted")
        if not path.exists():
            shapes = tuple({0: torch.export.Dim.DYNAMIC} if table else None for table in tables)
            program = torch.export.export(module, tuple(example), dynamic_shapes=shapes)
            partial = path.with_name(f"{secrets.token_hex(4)}.pt2")
            torch._inductor.aoti_compile_and_package(
                program, package_path=str(partial), inductor_configs=OPTIONS
            )
            partial.rename(path)
        return torch._inductor.aoti_load_package(str(path)).loader
