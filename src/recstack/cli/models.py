"""How verbs find what they are told to run: a folder, a deployment file, a preset of the zoo."""

from __future__ import annotations

from pathlib import Path

from recstack.cli.output import progress
from recstack.engine import Engine, HybridEngine
from recstack.errors import ConfigError
from recstack.model import Model, zoo
from recstack.model import load as load_model
from recstack.schedule import Costs
from recstack.tune import Deployment, engine_costs, read_deployment


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


def open_plan(name: str, rows_scale: float = 1.0, seed: int = 0) -> tuple[Deployment, Model]:
    """The deployment of a plan.toml, or of a model that `open_model` finds, and the model."""
    if name.endswith(".toml"):
        return read_deployment(name)
    return Deployment(model=name), open_model(name, rows_scale, seed)


def measured_costs(engine: Engine | HybridEngine, threads_per_lane: int, seed: int) -> Costs:
    """What batches cost on this machine's lanes; says that it takes a while."""
    progress.print(f"measuring what batches of {engine.model.name} cost", style="dim")
    return engine_costs(engine, threads_per_lane=threads_per_lane, seed=seed)
