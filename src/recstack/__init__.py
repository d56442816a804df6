"""recstack: the fastest deployment of a recommendation model under a tail-latency target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recstack import data
from recstack.batch import Batch
from recstack.engine import Engine, EngineConfig, compile, instruction_sets
from recstack.engine.reference import reference
from recstack.errors import RecstackError
from recstack.model import Model, load, zoo

__version__ = "0.1.0"

__all__ = [
    "Batch",
    "Engine",
    "EngineConfig",
    "Model",
    "RecstackError",
    "batch_from_inputs",
    "compile",
    "data",
    "from_torch",
    "instruction_sets",
    "load",
    "reference",
    "zoo",
]


def from_torch(
    module: Any,
    example_inputs: Sequence[Any] | Mapping[str, Any],
    *,
    user_inputs: Sequence[str] = (),
    name: str = "",
) -> Model:
    """Import a `torch.nn.Module`; see `recstack.model.importing.from_torch`.

    Raises MissingExtra without torch, ModelError for what cannot be imported.
    """
    from recstack.model.importing import from_torch as convert

    return convert(module, example_inputs, user_inputs=user_inputs, name=name or None)


def batch_from_inputs(
    model: Model, inputs: Sequence[Any] | Mapping[str, Any], query_offsets: Any = None
) -> Batch:
    """The batch that the arguments of an imported module stand for.

    Each row is a query of its own unless `query_offsets` (Q + 1,) says otherwise.
    """
    from recstack.model.importing import batch_from_inputs as convert

    return convert(model, inputs, query_offsets)
