"""How an engine is to run a model."""

from __future__ import annotations

import os
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from recstack import _native
from recstack.engine.precision import DenseFormat, LayerPlan
from recstack.errors import ConfigError


class EngineConfig(BaseModel):
    """Choices of an engine; frozen, unknown keys are errors.

    precision: the format of dense layers (`LayerPrecision`): one for all, or a LayerPlan. Names in
        it that the model does not have are ConfigErrors when the engine is made.
    isa: instruction set, one of `instruction_sets()`, or "auto": RECSTACK_ISA where that is set,
        else the fastest that this processor has.
    threads: threads that share one batch: by rows, or where rows are few by tables and columns.
    tile_rows: rows that go through all layers together; None chooses by workspace and L2.
    hoist: do the user's part of a layer over user and item features once per query, not per row;
        exact to rounding. Off is for measuring what it gains.
    table_memory: where the tables of a model that is mapped from files lie. "huge": read into
        memory on huge pages, one copy for all engines of the model; "mapped": left in the files;
        "auto": huge where they are large and memory comfortably allows. `Engine.memory` says which
        and why. A file that is cut short under a mapped table ends the process: replace model
        files, never write into them. Tables of a model in memory stay where they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    precision: DenseFormat | LayerPlan = "fp32"
    isa: str = "auto"
    threads: int = Field(default=1, ge=1, le=1024)
    tile_rows: int | None = Field(default=None, ge=1, le=65536)
    hoist: bool = True
    table_memory: Literal["auto", "mapped", "huge"] = "auto"


def instruction_sets() -> dict[str, bool]:
    """The instruction sets of this build, slowest first, and whether this processor has each."""
    return dict(_native.instruction_sets())


def choose_isa(isa: str) -> str:
    """The instruction set that `isa` means here; ConfigError for one that is unknown or absent."""
    sets = instruction_sets()
    where = "EngineConfig.isa"
    if isa == "auto":
        isa, where = os.environ.get("RECSTACK_ISA") or "auto", "RECSTACK_ISA"
    if isa == "auto":
        return [name for name, supported in sets.items() if supported][-1]
    if isa not in sets:
        raise ConfigError(f"expected one of {', '.join(sets)}, got {isa!r} - at `{where}`")
    if not sets[isa]:
        raise ConfigError(f"this processor has no {isa} - at `{where}`")
    return isa
