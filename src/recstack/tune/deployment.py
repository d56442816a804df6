"""A deployment: everything that `serve` needs to run a model the way `tune` found best."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from recstack import _native
from recstack.batch import Batch
from recstack.data import slice_rows
from recstack.engine import DeviceConfig, Engine, EngineConfig, HybridEngine, compile
from recstack.engine.native.build import make_layout
from recstack.engine.native.engine import fault
from recstack.errors import BatchError, ConfigError, first_fault
from recstack.files import write_whole
from recstack.model import Model, load
from recstack.model.digest import model_digest
from recstack.precision.plan import apply, read_plan
from recstack.schedule import (
    AcceleratorConfig,
    Dispatcher,
    Failure,
    LoopDispatcher,
    ScheduleConfig,
)
from recstack.tune.guard import GuardConfig
from recstack.types import Executor, Query, Scores

Array = NDArray[Any]
Engines = Engine | HybridEngine | Mapping[str, Engine | HybridEngine]
"""One, or alternatives by name."""


class Deployment(BaseModel):
    """What runs, and why; `plan.toml` on disk, which a person may edit.

    model: the model's folder; a relative one is relative to the file.
    sla, sizes: what it was tuned for; text that `recstack.loadtest` parses.
    qps: the QPS@SLA that tuning measured; None where nothing was measured.
    reference: the model in fp32, as its folder, relative as the model's; what a guard compares with
        and falls back to.
    reference_digest: of the reference as it was when the model was made of it, description and
        weights (`recstack.model.digest`); None: not checked.
    guard: how the answers are watched against the reference's; None: not at all.
    precision: a precision plan's file (`recstack.precision.plan`), relative as the model's folder:
        tables and layers run as it says, so `engine.precision` stays fp32 beside it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    engine: EngineConfig = EngineConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    sla: str | None = None
    sizes: str | None = None
    qps: float | None = None
    precision: str | None = None
    reference: str | None = None
    reference_digest: str | None = None
    guard: GuardConfig | None = None

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all. Raises ConfigError when the disk refuses.

        Beside a precision plan `engine.precision`, which reading took from there, is left out.
        """
        data = self.model_dump(mode="json", exclude_none=True)
        if self.precision is not None:
            del data["engine"]["precision"]
        try:
            write_whole(Path(path), tomli_w.dumps(data))
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from error


def read_deployment(path: str | Path) -> tuple[Deployment, Model]:
    """The deployment in a file and its model; ConfigError or ModelError names file and place.

    Of a precision plan the model has the tables and `engine` the layers.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        deployment = Deployment.model_validate(data)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        what, place = first_fault(error)
        raise ConfigError(f"{what} - at `{path}: {place}`") from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"expected TOML: {error} - at `{path}`") from None
    model = load(path.parent / deployment.model)
    if deployment.precision is None:
        return deployment, model
    if deployment.engine.precision != "fp32":
        raise ConfigError(
            f"expected engine.precision or a precision plan, got both - at `{path}: precision`"
        )
    plan = read_plan(path.parent / deployment.precision)
    model, engine = apply(model, plan, deployment.engine)
    return deployment.model_copy(update={"engine": engine}), model


def read_reference(path: str | Path, deployment: Deployment) -> Model:
    """The fp32 model that the deployment in a file was made of.

    Raises ConfigError where the file names none, or where it has been replaced since: a guard would
    take it for what the deployment should score, and fall back to another model.
    """
    path = Path(path)
    if deployment.reference is None:
        raise ConfigError(
            f"expected the folder of the fp32 model to watch against - at `{path}: reference`"
        )
    reference = load(path.parent / deployment.reference)
    wanted = deployment.reference_digest
    if wanted is not None and (got := model_digest(reference)) != wanted:
        raise ConfigError(
            f"expected the fp32 model that this deployment was made of, digest {wanted}, got "
            f"another ({got}) in {path.parent / deployment.reference}: quantise anew, or "
            f"name the folder of the old one - at `{path}: reference`"
        )
    return reference


def executor_factory(engine: Engine | HybridEngine, threads: int = 1) -> _native.ExecutorFactory:
    """What makes the executors of a dispatcher's lanes from an engine, sharing its weights."""
    if isinstance(engine, Engine):
        return _native.TeamFactory(engine.program, threads)
    return _called(engine, engine.model)


def accelerator_factories(model: Model, config: AcceleratorConfig) -> list[_native.ExecutorFactory]:
    """What makes the executor of each of an accelerator's lanes; they share weights on the device.

    In fp32 whatever the engine's precision. Raises ConfigError where the device is absent,
    MissingExtra without torch.
    """
    device = DeviceConfig(device=config.device, largest_rows=config.largest_rows)
    first = compile(model, device)
    lanes = [first, *(first.beside() for _ in range(config.lanes - 1))]
    return [_called(lane, model) for lane in lanes]


def _called(executor: Executor, model: Model) -> _native.ExecutorFactory:
    """Lanes that call an executor; of a query cut in chunks it runs no more than the chunk."""

    def run(
        dense: Array,
        user_dense: Array,
        values: Array,
        lengths: Array,
        offsets: Array,
        weights: Array | None,
        begin: int,
        end: int,
    ) -> Scores:
        batch = Batch(dense, user_dense, values, lengths, offsets, weights)
        if end - begin < batch.rows and batch.queries == 1:
            return executor.run(slice_rows(batch, model.inputs, begin, end))
        return np.ascontiguousarray(executor.run(batch)[begin:end])

    return _native.PythonExecutorFactory(run, make_layout(model))


def start(
    engine: Engine | HybridEngine,
    schedule: ScheduleConfig,
    *,
    loop: bool = False,
    accelerators: Sequence[_native.ExecutorFactory] | None = None,
) -> LoopDispatcher:
    """A dispatcher that runs `engine`'s model on the schedule's lanes; close it when done.

    loop: one to be drained by an event loop, instead of by a thread of its own.
    accelerators: of `accelerator_factories`, to be used again; None: made where the schedule has
        an accelerator.
    """

    def explain(query: Query, failure: Failure) -> str:
        out = np.empty((query.batch.rows, engine.model.output_width), np.float32)
        error = fault(engine.model, query.batch, out)
        return str(error) if isinstance(error, BatchError) or not failure.text else failure.text

    if accelerators is None or schedule.accelerator is None:
        wanted = schedule.accelerator
        accelerators = accelerator_factories(engine.model, wanted) if wanted else ()
    cls = LoopDispatcher if loop else Dispatcher
    factory = executor_factory(engine, schedule.threads_per_lane)
    return cls(factory, schedule, accelerators=accelerators, explain=explain)


def compile_deployment(deployment: Deployment, model: Model) -> Engine | HybridEngine:
    """The engine of a deployment."""
    return compile(model, deployment.engine)
