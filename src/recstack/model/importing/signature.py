"""Example inputs as the arguments of a module's `forward`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recstack.errors import ModelError

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Arguments:
    """A call of `forward`. names: of the positional arguments, `args.0` and so on for `*args`."""

    names: tuple[str, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def named(self) -> dict[str, Any]:
        """Arguments by name; a dict that is the only argument goes without one."""
        named = {**dict(zip(self.names, self.args, strict=True)), **self.kwargs}
        only = next(iter(named.values())) if len(named) == 1 else None
        return {"": only} if isinstance(only, dict) else named

    def map(self, function: Callable[[Any], Any]) -> Arguments:
        """The same call with `function` of each tensor."""
        from torch.utils import _pytree as pytree

        args, kwargs = pytree.tree_map(function, (self.args, self.kwargs))
        return Arguments(self.names, args, kwargs)


def arguments_of(module: Any, inputs: Sequence[Any] | Mapping[str, Any]) -> Arguments:
    """The call that `inputs` stand for: positional arguments, or keyword arguments by name.

    A mapping that fits no keywords of a `forward` with one argument is that argument. Raises
    ModelError for inputs that do not fit.
    """
    signature = inspect.signature(module.forward)
    if isinstance(inputs, Mapping):
        call = _by_keyword(signature, dict(inputs))
    elif isinstance(inputs, list | tuple):
        call = _by_position(signature, tuple(inputs))
    else:
        raise ModelError(
            "expected a tuple of positional arguments or a dict of keyword arguments, got "
            f"{type(inputs).__name__}",
            "example_inputs",
        )
    try:
        signature.bind(*call.args, **call.kwargs)
    except TypeError as error:
        expected = f"expected the arguments of forward{signature}"
        raise ModelError(f"{expected}, got others: {error}", "example_inputs") from None
    return call


def _by_position(signature: inspect.Signature, args: tuple[Any, ...]) -> Arguments:
    names: list[str] = []
    for p in signature.parameters.values():
        if p.kind in _POSITIONAL:
            names.append(p.name)
        elif p.kind == p.VAR_POSITIONAL:
            names += [f"{p.name}.{i}" for i in range(len(args) - len(names))]
    if len(args) > len(names):
        raise ModelError(
            f"expected at most {len(names)} tensors {names}, got {len(args)}", "example_inputs"
        )
    return Arguments(tuple(names[: len(args)]), args, {})


def _by_keyword(signature: inspect.Signature, given: dict[str, Any]) -> Arguments:
    names = list(signature.parameters)
    only = signature.parameters[names[0]] if len(names) == 1 else None
    if only is not None and only.kind in _POSITIONAL and only.name not in given:
        return Arguments((only.name,), (given,), {})
    known = {name: given[name] for name in names if name in given}
    return Arguments((), (), {**known, **given})
