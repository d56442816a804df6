"""What measured rates depend on, for the journal of a search."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from recstack import _native
from recstack.engine import Engine, HybridEngine
from recstack.engine.config import choose_isa
from recstack.results import fingerprint


def about_engine(engine: Engine | HybridEngine) -> dict[str, Any]:
    """What the speed of an engine depends on.

    The model counts by its description and the shapes and types of its weights. Their values do
    not: kernels take the same time for any, and reading gigabytes of tables would take longer than
    a probe.
    """
    model = engine.model
    h = hashlib.blake2b(model.description.model_dump_json().encode(), digest_size=12)
    for name, array in sorted(model.weights.items()):
        h.update(f"{name} {array.shape} {array.dtype}\n".encode())
    config = engine.config.model_dump(mode="json")
    return {**config, "model": f"{model.name} {h.hexdigest()}", "isa": choose_isa(config["isa"])}


@cache
def about_machine() -> dict[str, Any]:
    """This machine, and the build of recstack's native part that runs on it."""
    known = fingerprint().model_dump(mode="json", include={"cpu", "cores", "flags", "recstack"})
    return {**known, "build": native_build()}


@cache
def native_build() -> str:
    """A digest of the extension's file: other kernels take other times and round otherwise."""
    return hashlib.blake2b(Path(_native.__file__).read_bytes(), digest_size=12).hexdigest()
