"""From ops to steps: one function per op, found by the op's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from recstack.engine.native.plan import Plan
from recstack.errors import ModelError
from recstack.model.ops import Op

Lowering = Callable[[Plan, Op], None]
_LOWERINGS: dict[type[Op], Lowering] = {}
F = TypeVar("F", bound=Callable[..., None])


def lowers(*classes: type[Op]) -> Callable[[F], F]:
    """Register the function that turns ops of these classes into steps."""

    def register(function: F) -> F:
        for cls in classes:
            _LOWERINGS[cls] = function
        return function

    return register


def lower(plan: Plan, op: Op) -> None:
    """Append the steps of `op` to `plan`."""
    if type(op) not in _LOWERINGS:
        raise ModelError(f"the native engine has no kernel for {op.kind!r}", op.output)
    plan.lowering = op.output
    _LOWERINGS[type(op)](plan, op)
