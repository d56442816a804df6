"""`recstack doctor`: what this installation and machine offer."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Annotated

import typer

from recstack.cli import peaks as machine_peaks
from recstack.cli.options import Json
from recstack.cli.output import console, print_json, table
from recstack.engine import EngineConfig, instruction_sets
from recstack.engine.config import choose_isa
from recstack.errors import ConfigError
from recstack.machine import peaks_path
from recstack.memory import available_bytes, huge_pages_available
from recstack.results import fingerprint

EXTRAS = {
    "serve": ("uvloop", "httptools", "prometheus_client"),
    "torch": ("torch",),
    "bench": ("onnx", "onnxruntime", "openvino", "fbgemm_gpu"),
}


def doctor(
    peaks: Annotated[
        bool, typer.Option("--peaks", help="Measure the machine's peaks (a minute) and store them.")
    ] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Most threads to measure peaks with; default all.")
    ] = None,
    json: Json = False,
) -> None:
    """List instruction sets, the machine, its stored peaks and the optional packages found."""
    if threads is not None and not peaks:
        raise ConfigError("--threads is how many threads --peaks measures with: give --peaks too")
    if peaks:
        machine_peaks.measure_and_store(threads)
    stored, problem = machine_peaks.stored()
    sets = instruction_sets()
    chosen = choose_isa(EngineConfig().isa)
    machine = fingerprint().model_dump()
    extras = {
        extra: {name: _version(name) for name in packages} for extra, packages in EXTRAS.items()
    }
    memory = {"huge_pages": huge_pages_available(), "available_bytes": available_bytes()}
    if json:
        print_json({"instruction_sets": sets, "chosen": chosen, "machine": machine,
                    "memory": memory, "extras": extras,
                    "peaks": machine_peaks.as_data(stored, problem)})  # fmt: skip
        return
    rows = [
        (name, "yes" if has else "no", "chosen" if name == chosen else "")
        for name, has in sets.items()
    ]
    console.print(table("Instruction sets (force one with RECSTACK_ISA)",
                        ("set", "this processor", ""), rows))  # fmt: skip
    console.print()
    both = {**machine, **memory}
    console.print(table("Machine", ("", ""), [(k, _short(v)) for k, v in both.items()]))
    console.print()
    found = [
        (f"[{extra}]".replace("[", r"\["), name, version or "absent")
        for extra, packages in extras.items()
        for name, version in packages.items()
    ]
    console.print(table("Optional packages", ("extra", "package", "version"), found))
    console.print()
    if stored is None:
        console.print(f"Peaks: {problem}", markup=False, soft_wrap=True)
    elif peaks:
        machine_peaks.print_peaks(stored)
    else:
        console.print(f"Peaks: measured {stored.created}, stored in {peaks_path()}",
                      markup=False, soft_wrap=True)  # fmt: skip


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "?"
