"""How verbs name a model: a folder, a deployment file, or a preset of the zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model import load as load_model

ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model folder, or a name of `recstack zoo`.")
]
RowsScale = Annotated[
    float, typer.Option(min=1e-9, help="Scale of a zoo model's table rows, to fit memory.")
]


def open_model(name: str, rows_scale: float = 1.0, seed: int = 0) -> Model:
    """The zoo's `name` or `name:variant`, or the model in a folder; ./name for one called like it.

    Raises ConfigError when it is neither.
    """
    preset, _, variant = name.partition(":")
    if preset in zoo.names():
        return zoo.build(preset, seed=seed, rows_scale=rows_scale, variant=variant or None)
    if Path(name).is_dir():
        return load_model(name)
    raise ConfigError(f"expected a model folder or one of {', '.join(zoo.names())}, got {name!r}")
