"""`recstack serve`: a deployment behind the Open Inference Protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.output import progress
from recstack.cli.traffic import DEFAULT_SLA, SlaOption
from recstack.loadtest import sla as sla_forms
from recstack.model import load
from recstack.schedule import LoopDispatcher
from recstack.tune import (
    AdaptiveDispatcher,
    Deployment,
    compile_deployment,
    read_deployment,
    start,
)


def serve(
    plan: Annotated[Path, typer.Argument(help="plan.toml of `recstack tune`, or a model folder.")],
    host: Annotated[str, typer.Option(help="Address to bind; loopback unless told.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    name: Annotated[str | None, typer.Option(help="Name in URLs; the model's own if none.")] = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Re-tune chunks and merging while serving.")
    ] = False,
    sla: SlaOption = None,
) -> None:
    """Serve a model over HTTP until SIGTERM or SIGINT; requests in flight are finished."""
    from recstack.serve import ServeConfig, Server

    if plan.is_dir():
        model = load(plan)
        deployment = Deployment(model=str(plan))
    else:
        deployment, model = read_deployment(plan)
    engine = compile_deployment(deployment, model)
    progress.print(str(engine.memory), style="dim")
    target = sla_forms.parse(sla or deployment.sla or DEFAULT_SLA)
    dispatcher: LoopDispatcher | AdaptiveDispatcher
    dispatcher = start(engine, deployment.schedule, loop=True)
    if adapt:
        dispatcher = AdaptiveDispatcher(dispatcher, target)
        progress.print(f"adapting to {target}", style="dim")
    try:
        for problem in dispatcher.pin_errors:
            progress.print(problem, style="yellow")
        served_as = name or model.name
        server = Server({served_as: (model, dispatcher)}, ServeConfig(host=host, port=port))
        server.serve_forever(
            lambda bound: progress.print(f"serving {served_as} at {bound.url}/v2", soft_wrap=True)
        )
    finally:
        dispatcher.close()
