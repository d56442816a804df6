"""Modules of an example, with its folder on the path for as long as they are used."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def modules() -> Iterator[Callable[..., dict[str, ModuleType]]]:
    """modules(FOLDER, NAME, ...) imports examples/FOLDER/NAME.py and so on."""
    path = [*sys.path]

    def imported(folder: str, *names: str) -> dict[str, ModuleType]:
        forget()
        sys.path[:0] = [str(EXAMPLES / folder), str(EXAMPLES)]
        return {name: importlib.import_module(name) for name in names}

    def forget() -> None:
        sys.path[:] = path
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and Path(file).is_relative_to(EXAMPLES):
                del sys.modules[name]

    yield imported
    forget()
