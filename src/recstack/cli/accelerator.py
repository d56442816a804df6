"""`recstack accelerator`: what batches of a model cost on a device, recorded or measured here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recstack.cli.models import open_model
from recstack.cli.options import Json, ModelName, RowsScale, Seed
from recstack.cli.output import console, print_json, progress, table
from recstack.engine import DeviceConfig, compile
from recstack.errors import ConfigError
from recstack.machine.power import Energy, PowerMeter
from recstack.model import zoo
from recstack.schedule import Costs
from recstack.simulate import Accelerator, find_costs, read_accelerator
from recstack.tune import executor_costs


def accelerator(
    model: ModelName,
    device: Annotated[
        str, typer.Option(help="A recorded one, a file, or DEVICE:MODEL for another model's curve.")
    ] = "gtx-1080-ti",
    measure: Annotated[
        str | None,
        typer.Option(help="Measure on this device instead, such as cuda (or cpu, for a trial)."),
    ] = None,
    largest_rows: Annotated[int, typer.Option(min=1, max=1 << 16, help="Of --measure.")] = 1024,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of --measure, about.")] = 10.0,
    out: Annotated[
        Path | None, typer.Option(help="Write the device's file; other models in it stay.")
    ] = None,
    rows_scale: RowsScale = 1.0,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Show a device's cost curve of a model; exit 2 where there is none.

    `recstack simulate --accelerator` takes the name or the file.
    """
    if measure is None:
        found, costs = find_costs(device, _name(model))
    else:
        found, costs, energy = _measure(model, measure, largest_rows, seconds, rows_scale, seed)
        progress.print(energy.text(0), style="dim", soft_wrap=True)
    if out:
        _joined(found, out).save(out)
        progress.print(f"wrote {out}", style="dim")
    if json:
        print_json({**found.model_dump(exclude={"costs"}), "costs": costs.model_dump()})
        return
    rows = [(1 << k, f"{us:.1f}") for k, us in enumerate(costs.service_us[0])]
    console.print(table(f"{model} on {found.name} ({costs.origin})", ("rows", "us"), rows))
    console.print(f"from: {found.source}", soft_wrap=True)
    for assumption in found.assumed:
        console.print(f"assumed: {assumption}", soft_wrap=True)


def _name(model: str) -> str:
    preset = model.partition(":")[0]
    return preset if preset in zoo.names() else open_model(model).name


def _measure(
    name: str, device: str, largest_rows: int, seconds: float, rows_scale: float, seed: int
) -> tuple[Accelerator, Costs, Energy]:
    model = open_model(name, rows_scale, seed)
    nodes = (largest_rows - 1).bit_length()
    executor = compile(model, DeviceConfig(device=device, largest_rows=1 << nodes))
    called = executor.device_name
    progress.print(f"measuring what batches of {model.name} cost on {called}", style="dim")
    with PowerMeter(device) as meter:
        costs = executor_costs(
            executor, model, largest_rows=1 << nodes, seconds=seconds, seed=seed,
            what=f"{model.name}, {called}",
        )  # fmt: skip
    found = Accelerator(
        name=called,
        origin="measured",
        source="`recstack accelerator --measure`: whole queries, checks and transfers included",
        watts=meter.energy.watts,
        costs={model.name: costs},
    )
    return found, costs, meter.energy


def _joined(found: Accelerator, out: Path) -> Accelerator:
    """With the models that the file holds of the same device."""
    if not out.exists():
        return found
    before = read_accelerator(out)
    if (before.name, before.origin) != (found.name, found.origin):
        raise ConfigError(
            f"expected a file of {found.name}, {found.origin}, "
            f"got {before.name}, {before.origin} - at `{out}`"
        )
    return found.model_copy(update={"costs": {**before.costs, **found.costs}})
