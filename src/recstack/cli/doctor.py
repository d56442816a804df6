"""`recstack doctor`: what this installation and machine offer."""

from __future__ import annotations

import importlib.metadata
import importlib.util

from recstack.cli.output import Json, console, print_json, table
from recstack.engine import EngineConfig, instruction_sets
from recstack.engine.config import choose_isa
from recstack.memory import available_bytes, huge_pages_available
from recstack.results import fingerprint

EXTRAS = {
    "serve": ("uvloop", "httptools", "prometheus_client"),
    "torch": ("torch",),
}


def doctor(json: Json = False) -> None:
    """List instruction sets, the machine's fingerprint and the optional packages found."""
    sets = instruction_sets()
    chosen = choose_isa(EngineConfig().isa)
    machine = fingerprint().model_dump()
    extras = {
        extra: {name: _version(name) for name in packages} for extra, packages in EXTRAS.items()
    }
    memory = {"huge_pages": huge_pages_available(), "available_bytes": available_bytes()}
    if json:
        print_json({"instruction_sets": sets, "chosen": chosen, "machine": machine,
                    "memory": memory, "extras": extras})  # fmt: skip
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


def _short(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _version(name: str) -> str | None:
    if importlib.util.find_spec(name) is None:
        return None
    try:
        return importlib.metadata.version(name.replace("_", "-"))
    except importlib.metadata.PackageNotFoundError:
        return "?"
