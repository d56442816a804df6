"""From a user's module to a model, with a check that its rows do not depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils import _pytree as pytree

from recstack.errors import ModelError
from recstack.model.importing.coverage import ImportedModel
from recstack.model.importing.examples import Examples
from recstack.model.importing.export import evaluated, export
from recstack.model.importing.importer import import_exported
from recstack.model.importing.signature import arguments_of

ExampleInputs = Sequence[Any] | Mapping[str, Any]


def import_module(
    module: Any, inputs: ExampleInputs, user_inputs: tuple[str, ...], name: str | None, copy: bool
) -> ImportedModel:
    """See `from_torch`."""
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"expected a torch.nn.Module, got {type(module).__name__}", "module")
    given = arguments_of(module, inputs)
    own = evaluated(module)
    examples = Examples(own, given.map(_narrow))
    sources = examples.sources(user_inputs)
    _check_rows(own, examples)
    exported = export(own, examples)
    return import_exported(exported, sources, name or type(module).__name__, copy)


def module_scores(module: Any, inputs: ExampleInputs) -> NDArray[np.float32]:
    """What torch gives for the inputs in eval mode, (rows, outputs): outputs side by side."""
    given = arguments_of(module, inputs).map(_narrow)
    with torch.no_grad():
        out = _scores(evaluated(module)(*given.args, **given.kwargs))
    return np.concatenate([t.reshape(len(t), -1).numpy() for t in out], axis=1)


def _narrow(leaf: Any) -> Any:
    """Floats of other widths as float32, as the weights are."""
    if isinstance(leaf, torch.Tensor):
        leaf = leaf.detach()
        return leaf.to(torch.float32) if leaf.dtype.is_floating_point else leaf
    return leaf


def _check_rows(module: Any, examples: Examples) -> None:
    """Raise ModelError unless each row scores the same whatever rows stand beside it."""
    count = examples.batch + 1
    every, some = torch.arange(2 * count + 1), torch.arange(count).flip(0)
    with torch.no_grad():
        whole = _scores(examples.run(module, _scaled(examples, every)))
        part = _scores(examples.run(module, _scaled(examples, some)))
    for i, (a, b) in enumerate(zip(whole, part, strict=True)):
        if a.ndim == 0 or a.shape[0] != len(every) or b.shape[0] != count:
            continue
        same = a.shape[1:] == b.shape[1:]
        if not same or not torch.allclose(a[:count].flip(0), b, 1e-3, 1e-4, equal_nan=True):
            raise ModelError(
                "expected each row's scores to depend on that row alone, got others when the rows "
                "beside it change",
                f"output {i}",
            )


def _scaled(examples: Examples, numbers: Any) -> list[Any]:
    """These rows of the examples, their floats scaled so that no two rows are the same."""
    ragged = {g.weights for g in examples.ragged}
    tensors = examples.rows(numbers)
    for i, t in enumerate(tensors):
        if t.dtype.is_floating_point and i not in ragged and i not in examples.single:
            tensors[i] = t * (0.5 + 0.5 / (1.0 + numbers)).reshape(-1, *[1] * (t.ndim - 1))
    return tensors


def _scores(out: Any) -> list[Any]:
    return [t.float() for t in pytree.tree_leaves(out) if isinstance(t, torch.Tensor)]
