"""`recstack import`: a PyTorch module becomes a model folder."""

from __future__ import annotations

import importlib
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from recstack.cli.options import Json
from recstack.cli.output import console, print_json, progress, table
from recstack.errors import BatchError, ConfigError

TOLERANCE = 1e-4


def import_(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="MODULE:FUNCTION, which returns (nn.Module, example inputs), or a .pt2 file.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder to save the model in.")],
    user: Annotated[
        list[str] | None, typer.Option(help="A forward argument that is user-scope; repeatable.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The model's name.")] = None,
    json: Json = False,
) -> None:
    """Import a PyTorch module through torch.export and print what each operator became.

    A module's scores of its example inputs are compared with torch's; a difference exits with 1.
    """
    from recstack.model.importing import coverage, from_exported, from_torch

    difference = None
    if source.endswith(".pt2"):
        model = from_exported(source, user_inputs=tuple(user or ()), name=name)
    else:
        module, inputs = _call(source)
        model = from_torch(module, inputs, user_inputs=tuple(user or ()), name=name)
        difference = _difference(model, module, inputs)
    model.save(out)
    lines = coverage(model)
    if json:
        print_json({"model": model.name, "folder": str(out), "difference": difference,
                    "coverage": [asdict(line) for line in lines]})  # fmt: skip
    else:
        rows = [(x.operator, x.times, x.imported_as, x.source) for x in lines]
        console.print(table(f"{model.name} in {out}", ("operator", "times", "as", "source"), rows))
        if difference is not None:
            console.print(f"largest difference from torch on the example inputs: {difference:.1e}")
    if difference is not None and difference > TOLERANCE:
        progress.print(f"expected at most {TOLERANCE:g}: do not deploy it", style="red")
        raise typer.Exit(1)


def _difference(model: Any, module: Any, inputs: Any) -> float:
    """The largest difference of the engine's scores from the module's, relative to those over 1."""
    import numpy as np

    from recstack.engine import compile
    from recstack.model.importing import batch_from_inputs, module_scores

    want = module_scores(module, inputs)
    try:
        batch = batch_from_inputs(model, inputs)
    except BatchError:  # one row for the user of all others
        batch = batch_from_inputs(model, inputs, [0, len(want)])
    got = compile(model).run(batch)
    if got.shape != want.shape:
        return float("inf")
    differences = np.abs(got - want) / np.maximum(np.abs(want), 1)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    differences[np.isnan(differences)] = np.inf
    return float(np.where(same, 0, differences).max(initial=0))


def find_function(source: str) -> Any:
    """The function of MODULE:FUNCTION, also from the working folder; ConfigError without one."""
    module_name, _, function = source.partition(":")
    if not function:
        raise ConfigError(f"expected MODULE:FUNCTION, got {source!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module_name), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"cannot import {source!r}: {error}") from error


def _call(source: str) -> tuple[Any, Any]:
    function = find_function(source)
    try:
        made = function()
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"{source!r} raised {type(error).__name__}: {error} - at `{at.filename}:{at.lineno}`"
        ) from error
    if not isinstance(made, tuple) or len(made) != 2:
        raise ConfigError(
            f"expected {source!r} to return (module, example inputs), got {made!r:.80}"
        )
    return made
