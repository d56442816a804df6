"""The translators, by the name of the aten operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recstack.model.importing.builder import Builder
from recstack.model.importing.values import Dim, Value


@dataclass(frozen=True)
class Call:
    """One call of an aten operator.

    target: such as `aten.add.Tensor`; values: its arguments by the schema's names, translated, with
    the schema's defaults; dims: the shape of each tensor of the result; integer: the result holds
    integers or truth values.
    """

    target: str
    function: Any
    values: dict[str, Value]
    dims: tuple[tuple[Dim, ...], ...]
    dtypes: tuple[str, ...] = ()
    source: str = ""
    given: frozenset[str] = field(default=frozenset())

    def __getitem__(self, name: str) -> Value:
        return self.values[name]

    def get(self, name: str, default: Value = None) -> Value:
        """The argument of this name, or `default` where the overload has none or it is None."""
        found = self.values.get(name)
        return default if found is None else found

    @property
    def operator(self) -> str:
        """The operator without its overload: `aten.add`."""
        return ".".join(self.target.split(".")[:2])


Translator = Callable[[Builder, Call], Value]
TRANSLATORS: dict[str, Translator] = {}


def translates(operators: str) -> Callable[[Translator], Translator]:
    """Register a translator for aten operators, any overload: `translates("relu relu6")`."""

    def register(function: Translator) -> Translator:
        for name in operators.split():
            assert f"aten.{name}" not in TRANSLATORS, name
            TRANSLATORS[f"aten.{name}"] = function
        return function

    return register
