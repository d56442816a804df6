"""Models from torch modules: torch.export, translators, passes. Only this package imports torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recstack.errors import MissingExtra
from recstack.model.importing.arguments import batch_from_inputs
from recstack.model.importing.coverage import Coverage, CoverageLine, ImportedModel, coverage
from recstack.model.importing.opaque import run_opaque


def from_torch(
    module: Any,
    example_inputs: Sequence[Any] | Mapping[str, Any],
    *,
    user_inputs: Sequence[str] = (),
    name: str | None = None,
    copy: bool = True,
) -> ImportedModel:
    """A model that computes what a torch module computes at inference.

    module: a torch.nn.Module; it is not changed (an eval-mode copy of it is exported).
    example_inputs: a tuple of the positional tensors of `forward`, or a dict of its keyword
        arguments (lists, tuples and dicts of tensors may nest); every axis 0 that has the batch's
        size is left open. One row is enough.
    user_inputs: names of arguments that are the same for all rows of a query.
    name: the model's name; the module's class by default.
    copy: copy the weights; without, they stay the module's own memory and must not change.
    Operators without a translation become opaque ops that torch runs: see `coverage(model)`.
    Raises ModelError, naming operator and source line, when that is impossible; MissingExtra
    without torch.
    """
    _require_torch()
    from recstack.model.importing.module import import_module

    return import_module(module, example_inputs, tuple(user_inputs), name, copy)


def from_exported(
    program: Any, *, user_inputs: Sequence[str] = (), name: str | None = None
) -> ImportedModel:
    """A model from a torch.export.ExportedProgram, or the path of a `.pt2` file.

    The program must be exported in eval mode with an open batch size (`dynamic_shapes`). That its
    rows do not depend on each other is not checked, other than operator by operator.
    Raises as `from_torch` does.
    """
    _require_torch()
    from recstack.model.importing.program import import_program

    fallback = Path(program).stem if isinstance(program, str | Path) else "imported"
    return import_program(program, tuple(user_inputs), name or fallback)


def module_scores(module: Any, inputs: Sequence[Any] | Mapping[str, Any]) -> NDArray[np.float32]:
    """What torch gives for `inputs` in eval mode, (rows, outputs), to compare an engine's with."""
    _require_torch()
    from recstack.model.importing.module import module_scores as scores

    return scores(module, inputs)


def _require_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtra("torch", "torch") from None


__all__ = [
    "Coverage",
    "CoverageLine",
    "ImportedModel",
    "batch_from_inputs",
    "coverage",
    "from_exported",
    "from_torch",
    "module_scores",
    "run_opaque",
]
