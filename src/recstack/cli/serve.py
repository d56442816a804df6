"""`recstack serve`: a deployment behind the Open Inference Protocol."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.options import DEFAULT_SLA, SlaOption
from recstack.cli.output import progress
from recstack.engine.precision import LayerPlan
from recstack.errors import ConfigError
from recstack.loadtest import SLA
from recstack.loadtest import sla as sla_forms
from recstack.model import Model, load
from recstack.model.digest import model_digest
from recstack.precision.calibrate import static_ranges
from recstack.schedule import LoopDispatcher
from recstack.tune import (
    AdaptiveDispatcher,
    Deployment,
    compile_deployment,
    read_deployment,
    start,
)
from recstack.tune.adaptive import adaptable
from recstack.tune.deployment import read_reference
from recstack.tune.guard import Guard, GuardConfig
from recstack.tune.ranges import KeptRanges


class OnAlarm(enum.StrEnum):
    """What an alarm leads to; see `recstack.tune.guard`."""

    REPORT = "report"
    REFRESH = "refresh"
    FALLBACK = "fallback"


def serve(
    plan: Annotated[
        Path,
        typer.Argument(metavar="PLAN", help="plan.toml of `recstack tune`, or a model folder."),
    ],
    host: Annotated[str, typer.Option(help="Address to bind; loopback unless told.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    name: Annotated[str | None, typer.Option(help="Name in URLs; the model's own if none.")] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Re-tune chunks and merging while serving.")
    ] = False,
    sla: SlaOption = None,
    monitor: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help="Share of queries scored in fp32 too, to watch."),
    ] = None,
    on_alarm: Annotated[
        OnAlarm | None, typer.Option(help="What an alarm of the monitor leads to.")
    ] = None,
) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT; requests in flight are finished."""
    from recstack.serve import ServeConfig, Server

    if plan.is_dir():
        model = load(plan)
        deployment = Deployment(model=str(plan))
    else:
        deployment, model = read_deployment(plan)
    guard = _guard(deployment, monitor, on_alarm)
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    if guard is not None and adapt:
        raise ConfigError("expected a monitor or --adapt, got both")
    sut = (
        _watched(plan, deployment, model, guard)
        if guard is not None
        else _plain(deployment, model, target if adapt else None)
    )
    try:
        served_as = name or model.name
        server = Server({served_as: (model, sut)}, ServeConfig(host=host, port=port))
        server.serve_forever(
            lambda bound: progress.print(f"serving {served_as} at {bound.url}/v2", soft_wrap=True)
        )
    finally:
        sut.close(drain=False)  # the server has waited for what it could answer


def _plain(
    deployment: Deployment, model: Model, target: SLA | None
) -> LoopDispatcher | AdaptiveDispatcher:
    """The deployment's dispatcher; target: what it is to adapt to, if it is."""
    engine = compile_deployment(deployment, model)
    progress.print(str(engine.memory), style="dim")
    dispatcher = start(engine, deployment.schedule, loop=True)
    for problem in dispatcher.pin_errors:
        progress.print(problem, style="yellow")
    if target is None:
        return dispatcher
    if not adaptable(deployment.schedule):
        progress.print(
            f"nothing to adapt: the plan's policy {deployment.schedule.policy!r} cuts and merges "
            "by the backlog on its own (`recstack tune --no-slack` plans fixed chunks)",
            style="yellow", soft_wrap=True,
        )  # fmt: skip
        return dispatcher
    progress.print(f"adapting to {target}", style="dim")
    return AdaptiveDispatcher(
        dispatcher, target, say=lambda line: progress.print(line, style="yellow", soft_wrap=True)
    )


def _guard(
    deployment: Deployment, share: float | None, on_alarm: OnAlarm | None
) -> GuardConfig | None:
    """The deployment's guard with what the command line changes; None: not watched."""
    if share == 0.0 or (share is None and on_alarm is None and deployment.guard is None):
        return None
    given = (deployment.guard or GuardConfig()).model_dump()
    given |= {} if share is None else {"share": share}
    given |= {} if on_alarm is None else {"act": on_alarm.value}
    return GuardConfig.model_validate(given)


def _watched(plan: Path, deployment: Deployment, model: Model, guard: GuardConfig) -> Guard:
    reference = read_reference(plan, deployment)
    engine, kept = deployment.engine, None
    if isinstance(planned := engine.precision, LayerPlan) and static_ranges(planned):
        digest = deployment.reference_digest or model_digest(reference)
        kept = KeptRanges(plan, digest, planned)
        if (refreshed := kept.read()) is not None:
            engine = engine.model_copy(update={"precision": refreshed})
            progress.print(f"with the ranges that {kept.path} has from serving", style="dim")
        elif kept.path.exists():
            progress.print(f"{kept.path} is of another model or plan: not used", style="yellow")
    progress.print(
        f"watching {guard.share:.2%} of the queries; an alarm leads to: {guard.act}", style="dim"
    )
    return Guard(
        model, engine, reference,
        lambda engine: start(engine, deployment.schedule, loop=True),
        guard,
        lambda line: progress.print(line, style="yellow"),
        kept.save if kept is not None else lambda plan: None,
    )  # fmt: skip
